//! Copies of the kernels with one mistake each, which the tests must find.
//!
//! A mistake is a piece of the sources that is replaced. It occurs exactly once, or the build fails: so a
//! copy is always the kernel as it is shipped, but for the mistake.

use std::path::Path;

struct Mutant {
    /// `mutant_` and this is its name among the kernels.
    name: &'static str,
    /// The source that has the kernel.
    file: &'static str,
    kernel: &'static str,
    from: &'static str,
    to: &'static str,
}

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "conv_without_barrier",
        file: "conv.cu",
        kernel: "conv_32",
        from: "sync_block(); // slab, places",
        to: "// slab, places",
    },
    Mutant {
        name: "conv_without_last_barrier",
        file: "conv.cu",
        kernel: "conv_32",
        from: "sync_block(); // nobody reads slab",
        to: "// nobody reads slab",
    },
    Mutant {
        name: "conv_with_unawaited_copy",
        file: "conv.cu",
        kernel: "conv_32",
        from: "copy_async_wait<STAGES - 2>();",
        to: "copy_async_wait<STAGES - 1>();",
    },
    Mutant {
        name: "conv_with_unawaited_slab",
        file: "conv.cu",
        kernel: "conv_32",
        from: "if (step < steps) load(step);\n        copy_async_commit(); // the first group has the slab too",
        to: "copy_async_commit();\n        if (step < steps) load(step);",
    },
    Mutant {
        name: "conv_with_a_row_too_few_before",
        file: "conv.cu",
        kernel: "conv_32",
        from: "low = first - reach > low ? first - reach : low;",
        to: "low = first - reach >= low ? first - reach + 1 : low;",
    },
    Mutant {
        name: "conv_with_a_row_too_few_behind",
        file: "conv.cu",
        kernel: "conv_32",
        from: "high = last + 1 + reach < high ? last + 1 + reach : high;",
        to: "high = last + reach < high ? last + reach : high;",
    },
    Mutant {
        name: "conv_with_a_row_too_many",
        file: "conv.cu",
        kernel: "conv_32",
        from: "if (row < rows) finish",
        to: "if (row <= rows) finish",
    },
    Mutant {
        name: "tower_without_barrier_before_the_pool",
        file: "tower.cu",
        kernel: "tower_32",
        from: "sync_block(); // all of x is there",
        to: "// all of x is there",
    },
    Mutant {
        name: "tower_with_unawaited_weights",
        file: "tower.cu",
        kernel: "tower_32",
        from: "copy_async_wait<STAGES - 2>();",
        to: "copy_async_wait<STAGES - 1>();",
    },
    Mutant {
        name: "weights_back_without_barrier",
        file: "train.cu",
        kernel: "weights_back_32",
        from: "sync_block(); // the step's rows",
        to: "// the step's rows",
    },
    Mutant {
        name: "weights_back_with_unawaited_copy",
        file: "train.cu",
        kernel: "weights_back_32",
        from: "copy_async_wait<STAGES - 2>();",
        to: "copy_async_wait<STAGES - 1>();",
    },
    Mutant {
        name: "weights_back_with_a_row_too_few_before",
        file: "train.cu",
        kernel: "weights_back_32",
        from: "(step == 0 ? -reach : reach)",
        to: "(step == 0 ? 1 - reach : reach)",
    },
    Mutant {
        name: "weights_back_with_a_row_too_few_behind",
        file: "train.cu",
        kernel: "weights_back_32",
        from: "high = first + (step + 1) * DEPTH + reach;",
        to: "high = first + (step + 1) * DEPTH + reach - 1;",
    },
    Mutant {
        name: "logits_with_divergent_shuffle",
        file: "policy.cu",
        kernel: "policy_logits",
        from: "return warp_sum(part);",
        to: "return lane < 16 ? warp_sum(part) : part;",
    },
    Mutant {
        name: "losses_without_barrier_of_the_warp",
        file: "policy.cu",
        kernel: "policy_losses",
        from: "sync_warp(); // everyone's derivatives are there",
        to: "// everyone's derivatives are there",
    },
    Mutant {
        name: "norm_without_barrier",
        file: "train.cu",
        kernel: "gradient_norm",
        from: "scratch[warp_id()] = value;\n    sync_block();",
        to: "scratch[warp_id()] = value;",
    },
    Mutant {
        name: "dense_with_a_store_too_many",
        file: "dense.cu",
        kernel: "dense",
        from: "if (row < rows && output < outputs) y",
        to: "if (row <= rows && output < outputs) y",
    },
    Mutant {
        name: "dense_without_barrier",
        file: "dense.cu",
        kernel: "dense",
        from: "sync_block(); // the tiles are there",
        to: "// the tiles are there",
    },
    Mutant {
        name: "dense_without_second_barrier",
        file: "dense.cu",
        kernel: "dense",
        from: "sync_block(); // nobody reads the tiles any more",
        to: "// nobody reads the tiles any more",
    },
    Mutant {
        name: "adamw_with_a_store_too_many",
        file: "train.cu",
        kernel: "adamw",
        from: "if (i >= count || scale[1] == 0.0f) return;",
        to: "if (i > count || scale[1] == 0.0f) return;",
    },
    Mutant {
        name: "tower_without_barrier_of_the_weights",
        file: "tower.cu",
        kernel: "tower_32",
        from: "sync_block(); // the piece is there",
        to: "// the piece is there",
    },
    Mutant {
        name: "tower_without_barrier_before_the_stem",
        file: "tower.cu",
        kernel: "tower_32",
        from: "GLOBALS, here);\n        sync_block();",
        to: "GLOBALS, here);",
    },
    Mutant {
        name: "tower_without_barrier_behind_the_pool",
        file: "tower.cu",
        kernel: "tower_32",
        from: "pool(cells);\n                sync_block();",
        to: "pool(cells);",
    },
    Mutant {
        name: "tower_without_barrier_behind_the_bias",
        file: "tower.cu",
        kernel: "tower_32",
        from: "2 * C, BOARDS);\n                sync_block();",
        to: "2 * C, BOARDS);",
    },
    Mutant {
        name: "tower_without_barrier_at_the_end",
        file: "tower.cu",
        kernel: "tower_32",
        from: "copy_async_wait<0>();\n        sync_block();",
        to: "copy_async_wait<0>();",
    },
    Mutant {
        name: "tower_without_barrier_of_what_is_pooled",
        file: "tower.cu",
        kernel: "tower_32",
        from: "pool(cells);\n        sync_block();",
        to: "pool(cells);",
    },
    Mutant {
        name: "conv_without_barrier_of_a_warp",
        file: "conv.cu",
        kernel: "conv_32",
        from: "tile.sums[m][n][i];\n        sync_warp();",
        to: "tile.sums[m][n][i];",
    },
    Mutant {
        name: "conv_without_second_barrier_of_a_warp",
        file: "conv.cu",
        kernel: "conv_32",
        from: "column, cells);\n        }\n        sync_warp();",
        to: "column, cells);\n        }",
    },
    Mutant {
        name: "policy_back_without_barrier_of_the_warp",
        file: "policy.cu",
        kernel: "policy_back",
        from: "dkind[i] = 0.0f;\n        sync_warp();",
        to: "dkind[i] = 0.0f;",
    },
    Mutant {
        name: "load_without_last_barrier",
        file: "playout.cu",
        kernel: "playout_hex8",
        from: "to[i] = words[i];\n    sync_warp();",
        to: "to[i] = words[i];",
    },
    Mutant {
        name: "look_without_last_barrier",
        file: "playout.cu",
        kernel: "playout_hex8",
        from: "t.stacked[0] = t.stacked[B::ROWS + 1] = 0;\n    }\n    sync_warp();",
        to: "t.stacked[0] = t.stacked[B::ROWS + 1] = 0;\n    }",
    },
    Mutant {
        name: "sort_without_barrier",
        file: "wave.cu",
        kernel: "wave_hex8",
        from: "edges[other].code = code;\n            }\n            sync_warp();",
        to: "edges[other].code = code;\n            }",
    },
    Mutant {
        name: "cut_down_without_barrier_before_the_store",
        file: "wave.cu",
        kernel: "wave_hex8",
        from: "sync_warp();\n            if (k < node.count) d.edges[edges + k] = edge;",
        to: "if (k < node.count) d.edges[edges + k] = edge;",
    },
];

/// Macros that make the kernels of a family, and what the kernels'
/// names begin with before what they are given.
const FAMILIES: &[(&str, &str)] = &[
    ("CONV(", ""),
    ("TOWER(", ""),
    ("WEIGHTS_BACK(", ""),
    ("PLAYOUT_KERNEL(", "playout_"),
    ("WAVE_KERNEL(", "wave_"),
];

/// All copies, each in a namespace with everything that it is written in, and a macro that lists them.
pub(crate) fn source(folder: &str) -> String {
    let (mut out, mut entries) = (String::new(), String::new());
    for mutant in MUTANTS {
        let (mut text, mut done) = (String::new(), Vec::new());
        flatten(Path::new(folder), mutant, mutant.file, &mut done, &mut text);
        let found = text.matches(mutant.from).count();
        assert!(found == 1, "{}: what is to be replaced occurs {found} times", mutant.name);
        let text = text.replace(mutant.from, mutant.to);
        out += &format!("namespace mutant_{} {{\n{text}}}\n", mutant.name);
        entries += &format!("entry(\"mutant_{0}\", &mutant_{0}::{1}), ", mutant.name, mutant.kernel);
    }
    format!("{out}#define MUTANTS {entries}\n")
}

/// A source with what it includes of ours, once, and of a family of kernels only the one that is asked for.
fn flatten(folder: &Path, mutant: &Mutant, file: &str, done: &mut Vec<String>, out: &mut String) {
    if done.iter().any(|name| name == file) {
        return;
    }
    done.push(file.to_owned());
    let text = std::fs::read_to_string(folder.join(file)).expect("a source that is included");
    for line in text.lines() {
        let included = line.strip_prefix("#include \"").and_then(|rest| rest.strip_suffix('"'));
        let family = FAMILIES.iter().find(|(family, _)| line.starts_with(family));
        let another = family.is_some_and(|(family, prefix)| {
            let asked = mutant.kernel.strip_prefix(prefix).unwrap_or(mutant.kernel);
            !line.starts_with(&format!("{family}{asked},"))
        });
        match included {
            // The host's own header knows nothing of kernels.
            Some("emu.hpp") => {}
            Some(name) => flatten(folder, mutant, name, done, out),
            None if line == "#pragma once" || line.starts_with("#include <") => {}
            None if another => {}
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
}
