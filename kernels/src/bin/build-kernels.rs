//! Compiles the kernels into `kernels/dist`, or checks that what is there is what would be compiled. Run by
//! `scripts/build-kernels [--check]`, which fetches the compiler.

use flate2::{Compression, write::GzEncoder};
use kernels::cuda::{
    COMPILER, Compiled, Image, ImageManifest, OPTIONS, TARGETS, Usage, compile, source, source_hash,
};
use std::io::Write as _;
use std::path::Path;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let check = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--check"] => true,
        _ => return Err(format!("usage: build-kernels [--check], found {}", arguments.join(" ")).into()),
    };
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist");
    let compiled = compile_all()?;
    let manifest = manifest_of(&compiled)?;
    refuse_spills(&manifest)?;
    if check { compare(&dist, &manifest) } else { write(&dist, &manifest, &compiled) }
}

/// The sources as compiled for each of [`TARGETS`], all at once.
fn compile_all() -> Result<Vec<Compiled>, Failure> {
    let source = source();
    std::thread::scope(|scope| {
        let jobs = TARGETS.map(|target| {
            let source = &source;
            scope.spawn(move || compile(source, target))
        });
        let mut compiled = Vec::new();
        for job in jobs {
            compiled.push(job.join().map_err(|_| "a compiler thread panicked")??);
        }
        Ok(compiled)
    })
}

/// What is said of the images, once the compiler has turned out to be the pinned one.
fn manifest_of(compiled: &[Compiled]) -> Result<ImageManifest, Failure> {
    let mut manifest = ImageManifest {
        compiler: String::new(),
        options: OPTIONS.map(String::from).to_vec(),
        source: source_hash(),
        images: Vec::new(),
    };
    for (target, compiled) in TARGETS.into_iter().zip(compiled) {
        if !target.starts_with("sm_") {
            manifest.compiler = compiler_of(&compiled.image)?;
        }
        let kernels = usage(&compiled.log)?;
        report(target, &kernels);
        manifest.images.push(Image {
            target: target.into(),
            hash: blake3::hash(&compiled.image).to_hex().to_string(),
            bytes: compiled.image.len(),
            kernels,
        });
    }
    if manifest.compiler != COMPILER {
        return Err(format!("{} would compile the kernels, not {COMPILER}", manifest.compiler).into());
    }
    Ok(manifest)
}

/// Registers that spill to memory are an error: no kernel is meant to need more than there are.
fn refuse_spills(manifest: &ImageManifest) -> Result<(), Failure> {
    let spills: Vec<_> = manifest
        .images
        .iter()
        .flat_map(|image| image.kernels.iter().map(move |usage| (&image.target, usage)))
        .filter(|(_, usage)| usage.spill_stores + usage.spill_loads > 0)
        .map(|(target, usage)| format!("{} on {target}", usage.kernel))
        .collect();
    if spills.is_empty() { Ok(()) } else { Err(format!("registers spill: {}", spills.join(", ")).into()) }
}

/// Whether what is kept is what was compiled now.
fn compare(dist: &Path, manifest: &ImageManifest) -> Result<(), Failure> {
    let kept: ImageManifest = serde_json::from_slice(&std::fs::read(dist.join("manifest.json"))?)?;
    if kept != *manifest {
        return Err("kernels/dist is not what these sources compile to: run scripts/build-kernels".into());
    }
    println!("kernels/dist is up to date");
    Ok(())
}

/// Keeps the images, packed, and the manifest.
fn write(dist: &Path, manifest: &ImageManifest, compiled: &[Compiled]) -> Result<(), Failure> {
    std::fs::create_dir_all(dist)?;
    for (target, compiled) in TARGETS.into_iter().zip(compiled) {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&compiled.image)?;
        std::fs::write(dist.join(format!("{target}.gz")), encoder.finish()?)?;
    }
    let mut text = serde_json::to_string_pretty(manifest)?;
    text.push('\n');
    std::fs::write(dist.join("manifest.json"), text)?;
    Ok(())
}

/// The compiler by its package and version, as it names itself at the top of PTX: whichever
/// library was found, this one has compiled.
fn compiler_of(ptx: &[u8]) -> Result<String, Failure> {
    let text = std::str::from_utf8(ptx)?;
    let release = text.lines().find_map(|line| line.strip_prefix("// Cuda compilation tools, release "));
    let version = release.and_then(|release| release.split_once(", V")).map(|(_, version)| version.trim());
    Ok(format!("nvidia-cuda-nvrtc {}", version.ok_or("the compiler does not name itself")?))
}

/// One line for each kernel that holds many registers.
fn report(target: &str, kernels: &[Usage]) {
    for usage in kernels.iter().filter(|usage| usage.registers > 64) {
        println!("{target} {}: {} registers", usage.kernel, usage.registers);
    }
}

/// Reads the assembler's report.
fn usage(log: &str) -> Result<Vec<Usage>, Failure> {
    let mut kernels: Vec<Usage> = Vec::new();
    for line in log.lines() {
        if let Some(rest) = line.split_once("Compiling entry function '") {
            let kernel = rest.1.split('\'').next().unwrap_or_default().to_owned();
            kernels.push(Usage { kernel, registers: 0, spill_stores: 0, spill_loads: 0, shared_bytes: 0 });
        }
        let Some(last) = kernels.last_mut() else { continue };
        let before = |what: &str| -> Option<u32> {
            line.split(what)
                .next()
                .filter(|rest| rest.len() < line.len())?
                .split_whitespace()
                .last()?
                .parse()
                .ok()
        };
        if let Some(bytes) = before(" bytes spill stores") {
            // Functions that a kernel calls are told after it.
            let loads = before(" bytes spill loads").ok_or("a report without spill loads")?;
            last.spill_stores = last.spill_stores.max(bytes);
            last.spill_loads = last.spill_loads.max(loads);
        }
        if let Some(registers) = before(" registers") {
            last.registers = registers;
            last.shared_bytes = before(" bytes smem").unwrap_or(0);
        }
    }
    if kernels.iter().any(|usage| usage.registers == 0) {
        return Err("the assembler's report was not understood".into());
    }
    Ok(kernels)
}
