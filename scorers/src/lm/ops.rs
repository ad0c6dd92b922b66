//! The operations of the decoder that are not matrix products.
//!
//! On the CPU in f32 they are loops over slices. Each loop is compiled for AVX-512, for AVX2 with
//! FMA, and for the baseline, and `pulp` chooses one of the three at run time. Matrix products are
//! candle's (the `gemm` crate). The loops here write in place, or into a buffer that lives as long
//! as a batch. This saves the allocation of fresh pages, which costs as much as the arithmetic on
//! them. [`CausalAttention`] holds a few rows of scores at a time, so its memory is linear in the
//! length of a window.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp1, InplaceOp2, InplaceOp3, Layout, Result, Shape};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// A loop to compile for each instruction set.
pub(super) trait Loop {
    /// Runs the loop. `FMA` is true where a fused multiply-add is a single instruction.
    fn run<const FMA: bool>(self);
}

struct Dispatch<L>(L);

impl<L: Loop> WithSimd for Dispatch<L> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        // Every vector unit that pulp knows has a fused multiply-add. Without a vector unit,
        // `mul_add` would be a call of the C library.
        if size_of::<S::f32s>() > size_of::<f32>() {
            self.0.run::<true>()
        } else {
            self.0.run::<false>()
        }
    }
}

pub(super) fn dispatch(body: impl Loop) {
    Arch::new().dispatch(Dispatch(body));
}

/// a · b + c, rounded once if `FMA` is true and twice otherwise.
#[inline(always)]
fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// eˣ to 2 units in the last place, and 1.2e-38 below −87.3.
///
/// The method is Cephes' `expf`, without branches, so that a loop over it is vectorised.
#[inline(always)]
pub(super) fn exp<const FMA: bool>(x: f32) -> f32 {
    // 1.5 · 2²³: adding it leaves the nearest whole number in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;

    let x = x.clamp(-87.3, 88.3);

    let shifted = multiply_add::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;

    // ln 2 in two parts, so that the product with n loses no digits.
    let r = multiply_add::<FMA>(n, -0.693_359_4, x);
    let r = multiply_add::<FMA>(n, 2.121_944_4e-4, r);

    let mut p = 1.987_569_1e-4;
    for c in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ] {
        p = multiply_add::<FMA>(p, r, c);
    }

    let p = multiply_add::<FMA>(p, r * r, r) + 1.0;

    // 2ⁿ, made from the whole number in the low bits of `shifted`.
    p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

/// Values in a vector of AVX-512. Shorter vectors take two or four steps for 16 values.
const LANES: usize = 16;

/// Folds the values of a row in 16 lanes, and then the lanes with `join`.
///
/// The number of lanes is fixed, so that a sum is added up in the same order whatever the
/// instruction set.
#[inline(always)]
fn fold(
    row: &[f32],
    start: f32,
    f: impl Fn(f32, f32) -> f32,
    join: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut lanes = [start; LANES];

    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();

    for chunk in chunks {
        for l in 0..LANES {
            lanes[l] = f(lanes[l], chunk[l]);
        }
    }

    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = f(*lane, x);
    }

    lanes.into_iter().fold(start, join)
}

#[inline(always)]
fn max_of(row: &[f32]) -> f32 {
    // One comparison for each value, unlike `f32::max`. A NaN is never the maximum, but it reaches
    // the sum that follows and stays in it.
    let max = |a: f32, b: f32| if b > a { b } else { a };
    fold(row, f32::NEG_INFINITY, max, max)
}

/// A running logarithm of a sum of exponentials, over the blocks of a row of logits.
#[derive(Debug, Clone, Copy)]
pub struct LogSumExp {
    max: f32,
    sum: f64,
    target: f32,
}

impl LogSumExp {
    /// The state before the first block.
    pub const EMPTY: LogSumExp = LogSumExp {
        max: f32::NEG_INFINITY,
        sum: 0.0,
        target: f32::NEG_INFINITY,
    };

    /// Natural logarithm of the target's probability, once all blocks have been added.
    pub fn log_prob(self) -> f32 {
        (f64::from(self.target) - f64::from(self.max) - self.sum.ln()) as f32
    }

    #[inline(always)]
    fn add<const FMA: bool>(&mut self, logits: &[f32]) {
        let max = max_of(logits);
        if max > self.max {
            // The sum so far is relative to the former maximum.
            self.sum *= f64::from(self.max - max).exp();
            self.max = max;
        }

        let max = self.max;
        self.sum += f64::from(fold(
            logits,
            0.0,
            |sum, x| sum + exp::<FMA>(x - max),
            |a, b| a + b,
        ));
    }
}

/// The loop of [`add_logits`], over a block of rows.
struct AddLogits<'a> {
    logits: &'a [f32],
    columns: usize,
    first: usize,
    targets: &'a [u32],
    states: &'a mut [LogSumExp],
}

impl Loop for AddLogits<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for ((row, &target), state) in self
            .logits
            .chunks_exact(self.columns)
            .zip(self.targets)
            .zip(self.states)
        {
            state.add::<FMA>(row);

            // The target of a row may lie in another block.
            if let Some(&logit) = (target as usize)
                .checked_sub(self.first)
                .and_then(|i| row.get(i))
            {
                state.target = logit;
            }
        }
    }
}

/// Adds a block of logits to the state of each row.
///
/// `logits` is `[rows, columns]` and holds the vocabulary's entries from `first` on. `targets` has
/// one entry of the vocabulary for each row.
pub fn add_logits(
    logits: &[f32],
    columns: usize,
    first: usize,
    targets: &[u32],
    states: &mut [LogSumExp],
) {
    const ROWS: usize = 32;

    let blocks = logits
        .par_chunks(ROWS * columns)
        .zip(targets.par_chunks(ROWS))
        .zip(states.par_chunks_mut(ROWS));

    blocks.for_each(|((logits, targets), states)| {
        dispatch(AddLogits {
            logits,
            columns,
            first,
            targets,
            states,
        });
    });
}

/// The values of a contiguous f32 tensor on the CPU.
pub(super) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let CpuStorage::F32(values) = storage else {
        candle_core::bail!("the loops on the CPU are for f32");
    };
    Ok(&values[range(layout)?])
}

/// As `slice`, to write to.
fn slice_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    let CpuStorage::F32(values) = storage else {
        candle_core::bail!("the loops on the CPU are for f32");
    };
    Ok(&mut values[range(layout)?])
}

fn range(layout: &Layout) -> Result<Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => candle_core::bail!("the loops on the CPU are for contiguous tensors"),
    }
}

/// `x += y`, for tensors of equal shapes.
pub struct AddAssign;

impl InplaceOp2 for AddAssign {
    fn name(&self) -> &'static str {
        "add-assign"
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> Result<()> {
        let (x, y) = (slice_mut(x, x_layout)?, slice(y, y_layout)?);
        x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
        Ok(())
    }
}

/// Writes silu(gate) · up into the columns of `out` from `first` on. `out` is `[rows, width]`; gate
/// and up are `[rows, columns]`.
pub struct SwigluInto {
    /// The first column of `out` to write.
    pub first: usize,
}

/// The loop of [`SwigluInto`], over a row.
struct Swiglu<'a> {
    out: &'a mut [f32],
    gate: &'a [f32],
    up: &'a [f32],
}

impl Loop for Swiglu<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for ((out, &gate), &up) in self.out.iter_mut().zip(self.gate).zip(self.up) {
            *out = gate * up / (1.0 + exp::<FMA>(-gate));
        }
    }
}

impl InplaceOp3 for SwigluInto {
    fn name(&self) -> &'static str {
        "swiglu-into"
    }

    fn cpu_fwd(
        &self,
        out: &mut CpuStorage,
        out_layout: &Layout,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<()> {
        let (rows, width) = out_layout.shape().dims2()?;
        let columns = gate_layout.shape().dims2()?.1;

        let (gate, up) = (slice(gate, gate_layout)?, slice(up, up_layout)?);
        if self.first + columns > width || gate.len() != rows * columns || up.len() != gate.len() {
            candle_core::bail!(
                "swiglu-into: {columns} columns from column {} on do not fit a width of {width}",
                self.first
            );
        }

        let rows = slice_mut(out, out_layout)?
            .par_chunks_exact_mut(width)
            .with_min_len(8);

        rows.zip(
            gate.par_chunks_exact(columns)
                .zip(up.par_chunks_exact(columns)),
        )
        .for_each(|(out, (gate, up))| {
            dispatch(Swiglu {
                out: &mut out[self.first..self.first + columns],
                gate,
                up,
            });
        });

        Ok(())
    }
}

/// The number and the size of the attention heads.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// Number of query heads.
    pub query: usize,
    /// Number of key and value heads. It divides `query`.
    pub kv: usize,
    /// Dimensions of a head. Even.
    pub dim: usize,
}

impl Heads {
    /// Columns of a row that holds the queries, keys and values of all heads.
    pub fn columns(&self) -> usize {
        (self.query + 2 * self.kv) * self.dim
    }
}

/// Causal attention over windows that follow one another: `[rows, q | k | v]` →
/// `[rows, query heads · dim]`.
///
/// Adds the biases, rotates queries and keys (by halves of a head, as Hugging Face does), and lets
/// each position see its own window up to itself. Each window is a task of its own.
pub struct CausalAttention<'a> {
    /// Number and size of the heads.
    pub heads: Heads,
    /// Biases of q, k and v, one after the other. Empty if the model has no biases.
    pub bias: &'a [f32],
    /// Cosines, `[positions, dim / 2]`.
    pub cos: &'a [f32],
    /// Sines, of the same shape.
    pub sin: &'a [f32],
    /// Length of each window, in rows.
    pub windows: &'a [usize],
}

impl CustomOp1 for CausalAttention<'_> {
    fn name(&self) -> &'static str {
        "causal-attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, columns) = layout.shape().dims2()?;

        let longest = self.windows.iter().copied().max().unwrap_or(0);
        let fits = columns == self.heads.columns() && self.windows.iter().sum::<usize>() == rows;
        if !fits || longest * self.heads.dim / 2 > self.cos.len().min(self.sin.len()) {
            candle_core::bail!(
                "causal-attention: {rows} rows of {columns} do not fit heads, windows or positions"
            );
        }

        let width = self.heads.query * self.heads.dim;
        let mut out = vec![0f32; rows * width];

        // Each task owns its part of `out`. The lengths were checked to add up to `rows`, so the
        // parts cover `out`.
        let (mut qkv, mut rest) = (slice(qkv, layout)?, out.as_mut_slice());
        let mut tasks = Vec::with_capacity(self.windows.len());
        for &len in self.windows {
            let (window, after) = qkv.split_at(len * columns);
            let (out, out_after) = rest.split_at_mut(len * width);
            tasks.push((window, out, len));
            (qkv, rest) = (after, out_after);
        }

        tasks.into_par_iter().for_each(|(qkv, out, len)| {
            dispatch(Window {
                op: self,
                qkv,
                out,
                len,
            })
        });

        Ok((CpuStorage::F32(out), (rows, width).into()))
    }
}

/// Query rows of a head at a time, which bounds the scores that are held. A multiple of
/// [`TILE_ROWS`].
const QUERY_ROWS: usize = 24;
/// Rows of a tile of [`product`]. Its 6 × 16 sums fit into the registers of AVX2.
const TILE_ROWS: usize = 6;

/// The loop of [`CausalAttention`], over a window.
struct Window<'a> {
    op: &'a CausalAttention<'a>,
    qkv: &'a [f32],
    out: &'a mut [f32],
    len: usize,
}

impl Loop for Window<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Heads { query, kv, dim } = self.op.heads;
        let (columns, width) = (self.op.heads.columns(), query * dim);

        let padded = self.len.next_multiple_of(LANES);
        let wide = dim.next_multiple_of(LANES);
        let scale = (dim as f32).sqrt().recip();

        let mut head = vec![0f32; dim];

        // Keys have positions along a row, and values have dimensions along a row, as `product`
        // reads them. Both are zero beyond the window and beyond the head.
        let mut keys = vec![0f32; dim * padded];
        let mut values = vec![0f32; padded * wide];

        let mut queries = vec![0f32; QUERY_ROWS * dim];
        let mut scores = vec![0f32; QUERY_ROWS * padded];
        let mut mixed = vec![0f32; QUERY_ROWS * wide];

        // The keys and values of a group are laid out once, and serve all query heads of the group.
        for group in 0..kv {
            for position in 0..self.len {
                let row = &self.qkv[position * columns..(position + 1) * columns];
                self.rotated::<FMA>(row, (query + group) * dim, position, 1.0, &mut head);
                for (d, &key) in head.iter().enumerate() {
                    keys[d * padded + position] = key;
                }

                let first = (query + kv + group) * dim;
                values[position * wide..position * wide + dim]
                    .copy_from_slice(&row[first..first + dim]);
                if !self.op.bias.is_empty() {
                    let bias = &self.op.bias[first..first + dim];
                    values[position * wide..]
                        .iter_mut()
                        .zip(bias)
                        .for_each(|(value, bias)| *value += bias);
                }
            }

            for head in group * (query / kv)..(group + 1) * (query / kv) {
                for start in (0..self.len).step_by(QUERY_ROWS) {
                    let rows = QUERY_ROWS.min(self.len - start);

                    // The factor 1/√dim goes into the queries, so that the scores need no pass for
                    // it.
                    for r in 0..rows {
                        let row = &self.qkv[(start + r) * columns..(start + r + 1) * columns];
                        let out = &mut queries[r * dim..(r + 1) * dim];
                        self.rotated::<FMA>(row, head * dim, start + r, scale, out);
                    }

                    // The last row of the block sees the most columns. `product` computes whole
                    // lanes, and `softmax` sets the columns that a row does not see to zero.
                    let seen = (start + rows).next_multiple_of(LANES);
                    product::<FMA>(
                        &queries,
                        dim,
                        &keys,
                        padded,
                        (rows, dim, seen),
                        &mut scores,
                        padded,
                    );
                    for r in 0..rows {
                        let row = &mut scores[r * padded..r * padded + seen];
                        softmax::<FMA>(row, start + r + 1);
                    }

                    product::<FMA>(
                        &scores,
                        padded,
                        &values,
                        wide,
                        (rows, start + rows, wide),
                        &mut mixed,
                        wide,
                    );

                    for r in 0..rows {
                        let at = (start + r) * width + head * dim;
                        self.out[at..at + dim].copy_from_slice(&mixed[r * wide..r * wide + dim]);
                    }
                }
            }
        }
    }
}

impl Window<'_> {
    /// Writes the head that begins at column `first` of `row` to `out`: with its bias, rotated to
    /// `position`, and scaled.
    #[inline(always)]
    fn rotated<const FMA: bool>(
        &self,
        row: &[f32],
        first: usize,
        position: usize,
        scale: f32,
        out: &mut [f32],
    ) {
        let dim = self.op.heads.dim;
        let half = dim / 2;

        out.copy_from_slice(&row[first..first + dim]);
        if !self.op.bias.is_empty() {
            out.iter_mut()
                .zip(&self.op.bias[first..first + dim])
                .for_each(|(x, bias)| *x += bias);
        }

        let cos = &self.op.cos[position * half..(position + 1) * half];
        let sin = &self.op.sin[position * half..(position + 1) * half];

        let (low, high) = out.split_at_mut(half);
        for i in 0..half {
            let (a, b) = (low[i] * scale, high[i] * scale);
            low[i] = a * cos[i] - b * sin[i];
            high[i] = b * cos[i] + a * sin[i];
        }
    }
}

/// Turns the first `seen` scores of a row into probabilities, and the rest into zeros.
#[inline(always)]
fn softmax<const FMA: bool>(row: &mut [f32], seen: usize) {
    let (row, masked) = row.split_at_mut(seen);

    let max = max_of(row);
    row.iter_mut().for_each(|x| *x = exp::<FMA>(*x - max));
    let inverse = fold(row, 0.0, |a, b| a + b, |a, b| a + b).recip();
    row.iter_mut().for_each(|x| *x *= inverse);

    masked.fill(0.0);
}

/// `c = a · b` for `[m, k] · [k, n]`, row by row with the given strides. n is a multiple of 16.
#[inline(always)]
fn product<const FMA: bool>(
    a: &[f32],
    a_stride: usize,
    b: &[f32],
    b_stride: usize,
    (m, k, n): (usize, usize, usize),
    c: &mut [f32],
    c_stride: usize,
) {
    for column in (0..n).step_by(LANES) {
        for row in (0..m).step_by(TILE_ROWS) {
            let mut sums = [[0f32; LANES]; TILE_ROWS];

            // A tile that reaches beyond the last row repeats that row, and the sums of the repeats
            // are not kept.
            let a: [&[f32]; TILE_ROWS] = std::array::from_fn(|r| {
                let start = (row + r).min(m - 1) * a_stride;
                &a[start..start + k]
            });

            for (p, b) in b.chunks(b_stride).take(k).enumerate() {
                let b = &b[column..column + LANES];
                for r in 0..TILE_ROWS {
                    for l in 0..LANES {
                        sums[r][l] = multiply_add::<FMA>(a[r][p], b[l], sums[r][l]);
                    }
                }
            }

            for (r, sums) in sums.iter().enumerate().take(m - row) {
                let at = (row + r) * c_stride + column;
                c[at..at + LANES].copy_from_slice(sums);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0;
            let expected = f64::from(x).exp();
            for found in [exp::<true>(x), exp::<false>(x)] {
                assert!(
                    (f64::from(found) / expected - 1.0).abs() < 3e-7,
                    "e^{x} = {expected}, found {found}"
                );
            }
        }

        assert!(exp::<true>(-1e30) < 2e-38);
        assert_eq!(exp::<true>(0.0), 1.0);
    }

    #[test]
    fn log_sum_exp_in_blocks() {
        let logits: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37).sin() * 30.0).collect();
        let max = logits.iter().copied().fold(f32::MIN, f32::max);
        let sum: f64 = logits.iter().map(|&x| f64::from(x - max).exp()).sum();

        for target in [0, 500, 999] {
            let expected = f64::from(logits[target] - max) - sum.ln();

            for block in [1, 7, 16, 100, 1000] {
                let mut state = [LogSumExp::EMPTY];
                for (i, part) in logits.chunks(block).enumerate() {
                    add_logits(part, part.len(), i * block, &[target as u32], &mut state);
                }

                let found = f64::from(state[0].log_prob());
                assert!(
                    (found - expected).abs() < 1e-5,
                    "{target} in blocks of {block}: {found}, expected {expected}"
                );
            }
        }
    }
}
