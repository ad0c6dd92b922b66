//! The decoder's operations on CUDA.
//!
//! Matrix products are cuBLAS'. Between two products, one kernel of `kernels.cu` does what the
//! tensor library would do in a pass over memory for each step.
//!
//! Attention scores and logits leave cuBLAS in f32 whatever the dtype of the weights, so that bf16
//! costs precision in weights and activations only. The kernels are compiled to PTX when curate is
//! built (`build.rs`), and the driver compiles the PTX for the card at hand.
//!
//! Memory traffic beside the products, in bf16:
//!
//! * 14 hidden widths and 3 inner widths for each token and layer,
//! * 8 bytes for each attention score of each head, where half of all pairs of positions are
//!   computed, plus half a chunk for each position,
//! * 8 bytes for each logit.

#![expect(
    unsafe_code,
    reason = "a kernel and cuBLAS are handed addresses of memory on the device"
)]

use candle_core::cuda_backend::cudarc::cublas::{result, sys};
use candle_core::cuda_backend::cudarc::driver::{
    DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg, result as driver, sys as driver_sys,
};
use candle_core::cuda_backend::{CudaDType, CudaDevice, CudaStorage, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{DType, Device, Result, Storage, Tensor, bail};

use crate::lm::ops::Heads;

const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));
const MODULE: &str = "curate_lm";

/// A dtype of weights that the kernels are compiled for.
trait Element: CudaDType + DeviceRepr {
    const NAME: &'static str;
    const TYPE: sys::cudaDataType_t;
}

impl Element for f32 {
    const NAME: &'static str = "f32";
    const TYPE: sys::cudaDataType_t = sys::cudaDataType_t::CUDA_R_32F;
}

impl Element for half::bf16 {
    const NAME: &'static str = "bf16";
    const TYPE: sys::cudaDataType_t = sys::cudaDataType_t::CUDA_R_16BF;
}

/// Name of the kernel for a dtype and a width: 8 values at a time if 8 divides the width, else one.
fn kernel<T: Element>(name: &str, width: usize) -> String {
    format!("{name}_{}_{}", T::NAME, if width % 8 == 0 { 8 } else { 1 })
}

/// Opens a device with one stream of its own, which all threads use. Memory that is given back
/// stays with the process for the next batch.
pub(in crate::lm) fn open(ordinal: usize) -> Result<Device> {
    let device = Device::new_cuda_with_stream(ordinal)?;
    let cuda = device.as_cuda_device()?;

    let mut keep = u64::MAX;
    // SAFETY: no events are needed, because a single stream orders all work. The pool belongs to
    // the device, and its attribute is a u64.
    unsafe {
        cuda.disable_event_tracking();
        let pool =
            driver::device::get_default_mem_pool(cuda.cuda_stream().context().cu_device()).w()?;
        let threshold = driver_sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        driver::mem_pool::set_attribute(pool, threshold, (&raw mut keep).cast()).w()?;
    }

    Ok(device)
}

/// Bytes of the device's memory that no process has taken.
pub(in crate::lm) fn free_bytes(device: &CudaDevice) -> Result<u64> {
    Ok(device.cuda_stream().context().mem_get_info().w()?.0 as u64)
}

/// True if there are kernels for the device and the dtype.
pub(in crate::lm) fn serves(device: &Device, dtype: DType) -> bool {
    device.is_cuda() && matches!(dtype, DType::F32 | DType::BF16)
}

/// Rows of attention scores at a time. With fewer rows, products are small. With more rows, more of
/// the computed scores are masked.
const CHUNK_ROWS: usize = 128;

/// Lengths of windows and chunks are rounded up to a multiple of this, for the tensor cores and for
/// loads of four values.
const ALIGNED: usize = 16;

/// Consecutive windows for attention: where each begins, and the tables of angles.
pub(in crate::lm) struct Windows {
    firsts: Tensor,
    lens: Tensor,
    batch: usize,
    /// The length of the longest window, rounded up so that rows of scores are aligned for the
    /// tensor cores.
    longest: usize,
    tokens: usize,
    chunk_rows: usize,
    cos: Tensor,
    sin: Tensor,
}

impl Windows {
    /// `cos` and `sin` are `[positions, dim / 2]`. `chunk_bytes` bounds the scores of a chunk of
    /// rows.
    pub(in crate::lm) fn new(
        lens: &[usize],
        [cos, sin]: &[Tensor; 2],
        heads: usize,
        chunk_bytes: usize,
    ) -> Result<Windows> {
        let mut tokens = 0;
        let firsts: Vec<u32> = lens
            .iter()
            .map(|&len| {
                tokens += len;
                (tokens - len) as u32
            })
            .collect();

        let longest = lens
            .iter()
            .copied()
            .max()
            .unwrap_or(0)
            .next_multiple_of(ALIGNED);

        // A multiple of 16 rows for the tensor cores, unless `chunk_bytes` has room for fewer.
        let rows = (chunk_bytes / (4 * lens.len() * heads * longest).max(1)).min(CHUNK_ROWS);
        let chunk_rows = if rows >= ALIGNED {
            rows / ALIGNED * ALIGNED
        } else {
            rows.max(1)
        }
        .min(longest);

        let lens: Vec<u32> = lens.iter().map(|&len| len as u32).collect();

        Ok(Windows {
            batch: lens.len(),
            firsts: Tensor::new(firsts, cos.device())?,
            lens: Tensor::new(lens, cos.device())?,
            longest,
            tokens,
            chunk_rows,
            cos: cos.clone(),
            sin: sin.clone(),
        })
    }
}

/// Causal attention within each window of `qkv`: `[tokens, (query + 2 kv) · dim]` →
/// `[tokens, query · dim]`. First adds the biases, and rotates queries and keys.
pub(in crate::lm) fn attention(
    qkv: &Tensor,
    bias: Option<&Tensor>,
    heads: Heads,
    windows: &Windows,
) -> Result<Tensor> {
    match qkv.dtype() {
        DType::BF16 => attention_in::<half::bf16>(qkv, bias, heads, windows),
        _ => attention_in::<f32>(qkv, bias, heads, windows),
    }
}

fn attention_in<T: Element>(
    qkv: &Tensor,
    bias: Option<&Tensor>,
    heads: Heads,
    windows: &Windows,
) -> Result<Tensor> {
    let Heads { query, kv, dim } = heads;
    let Windows { batch, longest, .. } = *windows;
    let split = split_heads::<T>(qkv, bias, heads, windows)?;

    let block = batch * longest * dim;
    let k = split
        .narrow(0, query * block, kv * block)?
        .reshape((kv * batch, longest, dim))?;
    let v = split
        .narrow(0, (query + kv) * block, kv * block)?
        .reshape((kv * batch, longest, dim))?;

    // Needs no zeros: the chunks below write every row of every window, and the windows are all
    // tokens.
    let out = uninitialised::<T>(qkv, &[windows.tokens, query * dim])?;

    for start in (0..longest).step_by(windows.chunk_rows) {
        let rows = windows.chunk_rows.min(longest - start);
        // The kernel lays q out by chunks, so a chunk of all heads and windows is one run of
        // values.
        let q = split.narrow(0, query * batch * start * dim, query * batch * rows * dim)?;
        let q = q.reshape((kv * batch, query / kv * rows, dim))?;

        // At most `longest`, which is aligned too.
        let seen = (start + rows).next_multiple_of(ALIGNED);

        let scores = product_f32::<T>(&q, &k.narrow(1, 0, seen)?)?;
        let weights = causal_softmax::<T>(&scores, (dim as f32).sqrt().recip(), rows, start)?;
        let mixed = weights.matmul(&v.narrow(1, 0, seen)?)?;
        merge_heads::<T>(&mixed, heads, windows, (rows, start), &out)?;
    }

    Ok(out)
}

/// Adds the biases, rotates q and k, and separates the heads: q in chunks of rows, then k and v, in
/// one run of values, as the kernel `split_heads` lays them out.
fn split_heads<T: Element>(
    qkv: &Tensor,
    bias: Option<&Tensor>,
    heads: Heads,
    windows: &Windows,
) -> Result<Tensor> {
    let Heads { query, kv, dim } = heads;
    let Windows {
        batch,
        longest,
        chunk_rows,
        ..
    } = *windows;

    let out = uninitialised::<T>(qkv, &[(query + 2 * kv) * dim * batch * longest])?;

    let counts =
        [batch, longest, chunk_rows, query, kv, dim].map(|count| Argument::Count(count as u32));

    let mut arguments = vec![
        address::<T>(qkv)?,
        bias.map_or(Ok(Argument::Address(0)), address::<T>)?,
        Argument::Count(u32::from(bias.is_some())),
        address::<f32>(&windows.cos)?,
        address::<f32>(&windows.sin)?,
        address::<u32>(&windows.firsts)?,
        address::<u32>(&windows.lens)?,
    ];
    arguments.extend(counts);
    arguments.push(address::<T>(&out)?);

    // A thread takes V dimensions of the lower half of a head, and as many of the upper half.
    let name = kernel::<T>("split_heads", dim / 2);
    let items = (query + 2 * kv) * dim / 2 / if name.ends_with('8') { 8 } else { 1 };
    launch(
        &device(qkv)?,
        &name,
        shares(batch * longest, items),
        &arguments,
    )?;
    Ok(out)
}

/// Turns scores `[batch, heads · rows, seen]` into weights of the same shape. `seen` is aligned.
fn causal_softmax<T: Element>(
    scores: &Tensor,
    scale: f32,
    rows: usize,
    start: usize,
) -> Result<Tensor> {
    const WARPS: usize = 8;

    let (batch, in_batch, seen) = scores.dims3()?;
    let lines = batch * in_batch;
    let out = uninitialised::<T>(scores, &[batch, in_batch, seen])?;

    let counts = [rows, start, seen].map(|count| Argument::Count(count as u32));
    let mut arguments = vec![
        address::<f32>(scores)?,
        Argument::Factor(scale),
        Argument::Many(lines as u64),
    ];
    arguments.extend(counts);
    arguments.push(address::<T>(&out)?);

    // A warp for each line.
    let name = format!("causal_softmax_{}", T::NAME);
    launch(
        &device(scores)?,
        &name,
        (lines.div_ceil(WARPS), 32 * WARPS),
        &arguments,
    )?;
    Ok(out)
}

/// Writes a chunk of rows to its place in `out`.
fn merge_heads<T: Element>(
    mixed: &Tensor,
    heads: Heads,
    windows: &Windows,
    (rows, start): (usize, usize),
    out: &Tensor,
) -> Result<()> {
    let counts = [windows.batch, rows, start, heads.query, heads.kv, heads.dim];
    let mut arguments = vec![
        address::<T>(mixed)?,
        address::<u32>(&windows.firsts)?,
        address::<u32>(&windows.lens)?,
    ];
    arguments.extend(counts.map(|count| Argument::Count(count as u32)));
    arguments.push(address::<T>(out)?);

    let name = kernel::<T>("merge_heads", heads.dim);
    let items = heads.query * heads.dim / if name.ends_with('8') { 8 } else { 1 };
    launch(
        &device(out)?,
        &name,
        shares(windows.batch * rows, items),
        &arguments,
    )
}

/// Numbers of blocks and threads for places of `items` items each: see `Share` in the kernels.
fn shares(places: usize, items: usize) -> (usize, usize) {
    const THREADS: usize = 256;
    (places.div_ceil((THREADS / items).max(1)), THREADS)
}

/// Adds y to x in place, and returns the RMS norm of x. x and y are `[rows, width]`. Without y, x
/// stays as it is.
pub(in crate::lm) fn add_norm(
    x: &Tensor,
    y: Option<&Tensor>,
    weight: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    match x.dtype() {
        DType::BF16 => add_norm_in::<half::bf16>(x, y, weight, eps),
        _ => add_norm_in::<f32>(x, y, weight, eps),
    }
}

fn add_norm_in<T: Element>(
    x: &Tensor,
    y: Option<&Tensor>,
    weight: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    const WARPS: usize = 8;

    let (rows, width) = x.dims2()?;
    let out = uninitialised::<T>(x, &[rows, width])?;

    let arguments = [
        address::<T>(x)?,
        y.map_or(Ok(Argument::Address(0)), address::<T>)?,
        Argument::Count(u32::from(y.is_some())),
        address::<T>(weight)?,
        Argument::Count(rows as u32),
        Argument::Count(width as u32),
        Argument::Factor(eps as f32),
        address::<T>(&out)?,
    ];

    // A warp for each row.
    launch(
        &device(x)?,
        &kernel::<T>("add_norm", width),
        (rows.div_ceil(WARPS), 32 * WARPS),
        &arguments,
    )?;
    Ok(out)
}

/// silu(gate) · up: `[tokens, 2 · width]` → `[tokens, width]`. A row of the input is its gates and
/// then its ups.
pub(in crate::lm) fn swiglu(gate_up: &Tensor) -> Result<Tensor> {
    match gate_up.dtype() {
        DType::BF16 => swiglu_in::<half::bf16>(gate_up),
        _ => swiglu_in::<f32>(gate_up),
    }
}

fn swiglu_in<T: Element>(gate_up: &Tensor) -> Result<Tensor> {
    let (tokens, width) = (gate_up.dim(0)?, gate_up.dim(1)? / 2);
    let out = uninitialised::<T>(gate_up, &[tokens, width])?;

    let arguments = [
        address::<T>(gate_up)?,
        Argument::Count(width as u32),
        address::<T>(&out)?,
    ];

    // Whole warps, in one block for each token.
    let threads = (width / 8).next_multiple_of(32).clamp(32, 1024);
    launch(
        &device(gate_up)?,
        &kernel::<T>("swiglu", width),
        (tokens, threads),
        &arguments,
    )?;
    Ok(out)
}

/// `ln p` of each row's target under a softmax over the vocabulary. hidden is `[rows, hidden]`,
/// head is `[vocab, hidden]`.
pub(in crate::lm) fn log_probs(hidden: &Tensor, head: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let (hidden, head) = (hidden.unsqueeze(0)?, head.unsqueeze(0)?);
    let logits = match hidden.dtype() {
        DType::BF16 => product_f32::<half::bf16>(&hidden, &head)?,
        _ => product_f32::<f32>(&hidden, &head)?,
    };

    let (_, rows, vocab) = logits.dims3()?;
    let out = uninitialised::<f32>(&logits, &[rows])?;

    let name = if vocab % 8 == 0 {
        "log_probs_8"
    } else {
        "log_probs_1"
    };

    let vocab = Argument::Count(vocab as u32);
    let arguments = [
        address::<f32>(&logits)?,
        address::<u32>(targets)?,
        vocab,
        address::<f32>(&out)?,
    ];

    launch(&device(&logits)?, name, (rows, 512), &arguments)?;
    Ok(out)
}

/// a · bᵀ in f32: `[batch, m, k]` and `[batch, n, k]` → `[batch, m, n]`. Each matrix is contiguous.
/// The matrices of b may lie apart.
fn product_f32<T: Element>(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let ((batch, m, k), (_, n, _)) = (a.dims3()?, b.dims3()?);
    let out = uninitialised::<f32>(a, &[batch, m, n])?;

    let device = device(a)?;
    let [
        Argument::Address(to),
        Argument::Address(from_a),
        Argument::Address(from_b),
    ] = [
        address::<f32>(&out)?,
        address::<T>(a)?,
        address_of_parts::<T>(b)?,
    ]
    else {
        bail!("`address` gave no address");
    };

    let (alpha, beta) = (1f32, 0f32);
    // cuBLAS counts columns first, so it computes the transpose, b · aᵀ.
    //
    // SAFETY: the tensors live until the work is queued and have the sizes given, and nothing else
    // uses `out`.
    unsafe {
        result::gemm_strided_batched_ex(
            *device.cublas_handle().handle(),
            sys::cublasOperation_t::CUBLAS_OP_T,
            sys::cublasOperation_t::CUBLAS_OP_N,
            n as i32,
            m as i32,
            k as i32,
            (&raw const alpha).cast(),
            from_b as *const _,
            T::TYPE,
            k as i32,
            b.stride()[0] as i64,
            from_a as *const _,
            T::TYPE,
            k as i32,
            (m * k) as i64,
            (&raw const beta).cast(),
            to as *mut _,
            sys::cudaDataType_t::CUDA_R_32F,
            n as i32,
            (m * n) as i64,
            batch as i32,
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT_TENSOR_OP,
        )
    }
    .w()?;

    Ok(out)
}

/// An argument of a kernel.
#[derive(Clone, Copy)]
enum Argument {
    Address(u64),
    Count(u32),
    Many(u64),
    Factor(f32),
}

/// Queues a kernel.
///
/// All work on a device is queued on one stream. What the kernel reads is therefore written before
/// it runs, and memory that is given back is reused only after it ran.
fn launch(
    device: &CudaDevice,
    name: &str,
    (blocks, threads): (usize, usize),
    arguments: &[Argument],
) -> Result<()> {
    let function = device.get_or_load_custom_func(name, MODULE, PTX)?;

    let mut launch = function.builder();
    for argument in arguments {
        match argument {
            Argument::Address(value) | Argument::Many(value) => launch.arg(value),
            Argument::Count(value) => launch.arg(value),
            Argument::Factor(value) => launch.arg(value),
        };
    }

    let Some(blocks) = u32::try_from(blocks)
        .ok()
        .filter(|blocks| *blocks <= i32::MAX as u32)
    else {
        bail!("{name}: a grid cannot have {blocks} blocks");
    };

    let grid = LaunchConfig {
        grid_dim: (blocks, 1, 1),
        block_dim: (threads as u32, 1, 1),
        shared_mem_bytes: 0,
    };

    // SAFETY: each caller passes the arguments of the kernel of that name, in their order, with
    // tensors of the sizes that the counts say. Token ids were checked to be in the vocabulary.
    unsafe { launch.launch(grid) }.w()?;

    Ok(())
}

fn device(tensor: &Tensor) -> Result<CudaDevice> {
    Ok(tensor.device().as_cuda_device()?.clone())
}

/// A tensor with arbitrary values. The next kernel writes all of them.
fn uninitialised<T: Element>(like: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let device = device(like)?;

    // SAFETY: every bit pattern is a number, and a kernel writes the values before another reads
    // them.
    let slice = unsafe { device.alloc::<T>(shape.iter().product())? };

    let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(slice, device));
    Ok(Tensor::from_storage(
        storage,
        shape,
        BackpropOp::none(),
        false,
    ))
}

/// The address of a contiguous tensor's first value.
fn address<T: CudaDType + DeviceRepr>(tensor: &Tensor) -> Result<Argument> {
    if !tensor.is_contiguous() {
        bail!(
            "a kernel needs contiguous tensors, found strides {:?}",
            tensor.stride()
        );
    }

    address_of_parts::<T>(tensor)
}

/// The address of a tensor's first value, whatever its strides.
fn address_of_parts<T: CudaDType + DeviceRepr>(tensor: &Tensor) -> Result<Argument> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        bail!("the tensor is not on a CUDA device");
    };

    let slice = storage.as_cuda_slice::<T>()?.slice(layout.start_offset()..);
    let stream = storage.device.cuda_stream();
    let (address, _guard) = slice.device_ptr(&stream);
    Ok(Argument::Address(address))
}
