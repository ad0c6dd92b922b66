//! Compiles the kernels of the model scorer to PTX, in builds with the feature `cuda` only. Needs
//! `nvcc` on the path or under `CUDA_HOME`, as candle's own kernels do.

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
        PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it")).join("kernels.ptx");
    // The oldest card with tensor cores for bf16; the driver compiles for newer ones.
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
