//! What a node learns with: self-play, the replay window, training runs, matches and their statistics.
