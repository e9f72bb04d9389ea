//! RegressionDetector: a sequential test of the champion against its own past.
