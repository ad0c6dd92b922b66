//! Where a model runs.
//!
//! `cuda` and `metal` are features of the build. A binary with the feature `cuda` does not start
//! where libcuda is missing. Without the features, `auto` means the CPU, and requesting another
//! device is an error.

use candle_core::{DType, Device};

use crate::lm::LmError;

/// The device that a manifest names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU that this build can use, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device with this number.
    Cuda(usize),
    /// The first Metal device.
    Metal,
}

impl DeviceChoice {
    /// Reads `auto`, `cpu`, `cuda` (the first CUDA device), `cuda:1` or `metal`.
    ///
    /// # Errors
    /// [`LmError::Config`] for any other name.
    pub fn parse(name: &str) -> Result<DeviceChoice, LmError> {
        let unknown = || LmError::config("device", name, "auto, cpu, cuda, cuda:0 or metal");

        match name.split_once(':') {
            None if name == "auto" => Ok(DeviceChoice::Auto),
            None if name == "cpu" => Ok(DeviceChoice::Cpu),
            None if name == "cuda" => Ok(DeviceChoice::Cuda(0)),
            None if name == "metal" => Ok(DeviceChoice::Metal),
            // `parse` alone would accept a sign: `cuda:+1`.
            Some(("cuda", n)) if n.bytes().all(|b| b.is_ascii_digit()) => {
                n.parse().map(DeviceChoice::Cuda).map_err(|_| unknown())
            }
            _ => Err(unknown()),
        }
    }

    /// Opens the device.
    ///
    /// # Errors
    /// [`LmError::Device`] if this build has no support for the device, or if the device cannot be
    /// opened. `auto` and `cpu` never fail.
    pub fn open(self) -> Result<Device, LmError> {
        let fail = |device: String, error: candle_core::Error| {
            // A backtrace may follow the first line.
            let text = error.to_string();
            let reason = text.lines().next().unwrap_or_default().to_owned();
            LmError::Device { device, reason }
        };

        match self {
            DeviceChoice::Cpu => Ok(Device::Cpu),
            DeviceChoice::Cuda(n) => open_cuda(n).map_err(|e| fail(format!("cuda:{n}"), e)),
            DeviceChoice::Metal => Device::new_metal(0).map_err(|e| fail("metal".to_owned(), e)),
            DeviceChoice::Auto => Ok(open_cuda(0)
                .or_else(|_| Device::new_metal(0))
                .unwrap_or(Device::Cpu)),
        }
    }
}

#[cfg(feature = "cuda")]
use crate::lm::cuda::open as open_cuda;

#[cfg(not(feature = "cuda"))]
fn open_cuda(ordinal: usize) -> candle_core::Result<Device> {
    Device::new_cuda(ordinal)
}

/// Bytes of free memory on a GPU. `None` on the CPU, and where the device does not report them.
///
/// # Errors
/// [`LmError::Backend`] if the driver fails.
pub fn free_bytes(device: &Device) -> Result<Option<u64>, LmError> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => Ok(Some(crate::lm::cuda::free_bytes(device)?)),
        _ => Ok(None),
    }
}

/// The dtype of weights and activations.
///
/// bf16 on CUDA. f32 on the CPU, where products in other dtypes are slower, and on Metal, where f16
/// would be faster but is too narrow for Qwen2's activations.
pub fn dtype(device: &Device) -> DType {
    match device {
        Device::Cpu | Device::Metal(_) => DType::F32,
        Device::Cuda(_) => DType::BF16,
    }
}

/// Name of a device: `cpu`, `cuda:0` or `metal`.
pub fn name(device: &Device) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cpu => "cpu".to_owned(),
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        candle_core::DeviceLocation::Metal { .. } => "metal".to_owned(),
    }
}

/// True if an error of the tensor library says that the device has no memory left.
///
/// The driver's error is wrapped in other errors, so the text is searched for its name:
/// `CUDA_ERROR_OUT_OF_MEMORY`, and `CUBLAS_STATUS_ALLOC_FAILED` of cuBLAS.
pub fn is_out_of_memory(error: &candle_core::Error) -> bool {
    // Without underscores, the names of errors match the same words as their messages.
    let text = format!("{error} {error:?}")
        .to_ascii_lowercase()
        .replace('_', " ");

    [
        "out of memory",
        "alloc failed",
        "failed to allocate",
        "failed to create metal resource: buffer",
    ]
    .iter()
    .any(|name| text.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        use DeviceChoice::{Auto, Cpu, Cuda, Metal};
        let all = [
            ("auto", Auto),
            ("cpu", Cpu),
            ("cuda", Cuda(0)),
            ("cuda:0", Cuda(0)),
            ("cuda:12", Cuda(12)),
        ];

        for (name, device) in all.into_iter().chain([("metal", Metal)]) {
            assert_eq!(DeviceChoice::parse(name).expect("a device"), device);
        }

        for name in [
            "",
            "gpu",
            "cuda:",
            "cuda:x",
            "cuda:-1",
            "cuda:+1",
            "cuda:99999999999999999999",
            "cpu:0",
            "CPU",
        ] {
            assert!(DeviceChoice::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn without_a_gpu() {
        assert!(Cpu.open().is_ok());
        assert!(Auto.open().is_ok());

        if !candle_core::utils::cuda_is_available() {
            let error = Cuda(0).open().expect_err("no CUDA in this build");
            assert!(
                matches!(&error, LmError::Device { device, .. } if device == "cuda:0"),
                "{error}"
            );
        }
    }

    use DeviceChoice::{Auto, Cpu, Cuda};

    #[test]
    fn errors_of_a_driver() {
        let cuda = |text: &str| candle_core::Error::Cuda(text.to_owned().into());

        assert!(is_out_of_memory(
            &cuda("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")").bt()
        ));
        assert!(is_out_of_memory(&cuda("CUBLAS_STATUS_ALLOC_FAILED")));
        assert!(!is_out_of_memory(&cuda("CUDA_ERROR_ILLEGAL_ADDRESS")));
    }
}
