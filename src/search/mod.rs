//! How a player chooses its moves: search over an evaluator, the one-ply heuristic, uniform choice.
