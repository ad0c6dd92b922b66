//! Compiles the model scorer's CUDA kernels to PTX.
//!
//! Does nothing without the feature `cuda`. With it, `nvcc` must be on the path or under
//! `CUDA_HOME`, as candle's own kernels require too.

use std::path::PathBuf;
use std::process::Command;

const KERNELS: &str = "src/lm/cuda/kernels.cu";

fn main() {
    println!("cargo::rerun-if-changed={KERNELS}");
    println!("cargo::rerun-if-env-changed=CUDA_HOME");

    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }

    let nvcc = std::env::var_os("CUDA_HOME")
        .map_or("nvcc".into(), |home| PathBuf::from(home).join("bin/nvcc"));
    let out =
        PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("kernels.ptx");

    // The oldest architecture with tensor cores for bf16. The driver compiles the PTX for newer
    // cards.
    let mut command = Command::new(&nvcc);
    command
        .args(["-ptx", "-O3", "-arch=compute_80", KERNELS, "-o"])
        .arg(&out);

    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{} failed on {KERNELS}: {status}", nvcc.display()),
        Err(error) => panic!(
            "cannot run {}: {error}; the feature cuda needs the CUDA toolkit",
            nvcc.display()
        ),
    }
}
