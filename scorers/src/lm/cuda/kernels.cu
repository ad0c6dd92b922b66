// What the decoder does between matrix products, each in one pass over memory. bf16 is read and written by its bits, so that
// no header is needed; all arithmetic is f32. T is the dtype of weights and activations.

typedef unsigned short bf16;

__device__ inline float load(const float *p) { return *p; }
__device__ inline float load(const bf16 *p) { return __uint_as_float(((unsigned)*p) << 16); }
__device__ inline void store(float *p, float x) { *p = x; }
__device__ inline void store(bf16 *p, float x) {
    // To the nearest, ties to even; a NaN stays one.
    unsigned bits = __float_as_uint(x);
    *p = x != x ? 0x7fff : (bf16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Adds biases, rotates q and k, and lays windows of one batch side by side, padded with zeros on the right:
// qkv [tokens, (heads + 2 kv) · dim] -> q [kv, batch, heads / kv, longest, dim], k and v [kv, batch, longest, dim].
// A block for each place of a window; cos and sin are [positions, dim / 2].
template <typename T>
__device__ void split_heads(const T *qkv, const T *bias, unsigned has_bias, const float *cos, const float *sin,
                            const unsigned *firsts, const unsigned *lens, unsigned batch, unsigned longest,
                            unsigned heads, unsigned kv, unsigned dim, T *out) {
    const unsigned long long b = blockIdx.x / longest, place = blockIdx.x % longest;
    const unsigned half = dim / 2, group = heads / kv;
    const bool is_padding = place >= lens[b];
    const T *row = qkv + (unsigned long long)(firsts[b] + (is_padding ? 0 : place)) * (heads + 2 * kv) * dim;
    for (unsigned pair = threadIdx.x; pair < (heads + 2 * kv) * half; pair += blockDim.x) {
        const unsigned head = pair / half, i = pair % half, at = head * dim + i;
        float x = 0, y = 0;
        if (!is_padding) {
            x = load(row + at);
            y = load(row + at + half);
            if (has_bias) {
                x += load(bias + at);
                y += load(bias + at + half);
            }
            if (head < heads + kv) {
                const float c = cos[place * half + i], s = sin[place * half + i], x0 = x;
                x = x0 * c - y * s;
                y = y * c + x0 * s;
            }
        }
        unsigned long long to;
        if (head < heads) {
            to = (((head / group) * (unsigned long long)batch + b) * group + head % group) * longest + place;
        } else {
            to = (heads * (unsigned long long)batch + (head - heads) * (unsigned long long)batch + b) * longest + place;
        }
        store(out + to * dim + i, x);
        store(out + to * dim + i + half, y);
    }
}

// Softmax of scaled scores over the columns that a row may see: scores [lines, seen] -> weights [lines, seen], where line r
// is row start + r % rows of its window and sees as many columns and one. A warp for each line.
template <typename T>
__device__ void causal_softmax(const float *scores, float scale, unsigned long long lines, unsigned rows,
                               unsigned start, unsigned seen, T *out) {
    const unsigned long long line = blockIdx.x * (unsigned long long)(blockDim.x / 32) + threadIdx.x / 32;
    if (line >= lines) {
        return;
    }
    const unsigned lane = threadIdx.x % 32, columns = min(seen, start + (unsigned)(line % rows) + 1);
    const float *row = scores + line * seen;
    T *to = out + line * seen;
    float most = __int_as_float(0xff800000);
    for (unsigned j = lane; j < columns; j += 32) {
        most = fmaxf(most, row[j]);
    }
    for (unsigned d = 16; d > 0; d /= 2) {
        most = fmaxf(most, __shfl_xor_sync(0xffffffff, most, d));
    }
    float sum = 0;
    for (unsigned j = lane; j < columns; j += 32) {
        sum += __expf((row[j] - most) * scale);
    }
    for (unsigned d = 16; d > 0; d /= 2) {
        sum += __shfl_xor_sync(0xffffffff, sum, d);
    }
    const float inverse = 1 / sum;
    for (unsigned j = lane; j < seen; j += 32) {
        store(to + j, j < columns ? __expf((row[j] - most) * scale) * inverse : 0);
    }
}

// Brings a chunk of rows back: mixed [kv, batch, heads / kv, rows, dim] -> out [tokens, heads · dim]. A block for each row.
template <typename T>
__device__ void merge_heads(const T *mixed, const unsigned *firsts, const unsigned *lens, unsigned batch,
                            unsigned rows, unsigned start, unsigned heads, unsigned kv, unsigned dim, T *out) {
    const unsigned long long b = blockIdx.x / rows, row = blockIdx.x % rows;
    if (start + row >= lens[b]) {
        return;
    }
    const unsigned group = heads / kv;
    T *to = out + (firsts[b] + start + row) * heads * dim;
    for (unsigned at = threadIdx.x; at < heads * dim; at += blockDim.x) {
        const unsigned head = at / dim;
        const unsigned long long from = (((head / group) * (unsigned long long)batch + b) * group + head % group) * rows + row;
        to[at] = mixed[from * dim + at % dim];
    }
}

// silu(gate) · up: [tokens, 2 · width] -> [tokens, width].
template <typename T>
__device__ void swiglu(const T *gate_up, unsigned long long values, unsigned width, T *out) {
    const unsigned long long at = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x;
    if (at >= values) {
        return;
    }
    const unsigned long long from = at / width * 2 * width + at % width;
    const float gate = load(gate_up + from);
    store(out + at, gate / (1 + __expf(-gate)) * load(gate_up + from + width));
}

// The same, two values of bf16 at a time, for an even width; values counts pairs.
__device__ void swiglu_pairs(const unsigned *gate_up, unsigned long long values, unsigned width, unsigned *out) {
    const unsigned long long at = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x;
    if (at >= values) {
        return;
    }
    const unsigned pairs = width / 2;
    const unsigned long long from = at / pairs * 2 * pairs + at % pairs;
    const unsigned gates = gate_up[from], ups = gate_up[from + pairs];
    unsigned both = 0;
    for (unsigned shift = 0; shift < 32; shift += 16) {
        const bf16 gate = gates >> shift, up = ups >> shift;
        bf16 one;
        store(&one, load(&gate) / (1 + __expf(-load(&gate))) * load(&up));
        both |= (unsigned)one << shift;
    }
    out[at] = both;
}

// ln p of each row's target: logits [rows, vocab] -> [rows]. A block of 256 threads for each row.
__device__ void log_probs(const float *logits, const unsigned *targets, unsigned vocab, float *out) {
    __shared__ float shared_most[8], shared_sum[8];
    const float *row = logits + blockIdx.x * (unsigned long long)vocab;
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const float lowest = __int_as_float(0xff800000);
    float most = lowest, sum = 0;
    for (unsigned j = threadIdx.x; j < vocab; j += blockDim.x) {
        const float x = row[j];
        if (x > most) {
            sum = sum * __expf(most - x) + 1;
            most = x;
        } else {
            // A NaN comes here and stays.
            sum += __expf(x - most);
        }
    }
    for (unsigned d = 16; d > 0; d /= 2) {
        const float other_most = __shfl_xor_sync(0xffffffff, most, d), other_sum = __shfl_xor_sync(0xffffffff, sum, d);
        const float higher = fmaxf(most, other_most);
        // Of threads that saw no column both are empty, and −∞ − −∞ is no number.
        sum = (most == lowest ? sum : sum * __expf(most - higher)) +
              (other_most == lowest ? other_sum : other_sum * __expf(other_most - higher));
        most = higher;
    }
    if (lane == 0) {
        shared_most[warp] = most;
        shared_sum[warp] = sum;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        float higher = lowest;
        double total = 0;
        for (unsigned w = 0; w < blockDim.x / 32; ++w) {
            higher = fmaxf(higher, shared_most[w]);
        }
        for (unsigned w = 0; w < blockDim.x / 32; ++w) {
            total += shared_most[w] == lowest ? shared_sum[w] : shared_sum[w] * (double)expf(shared_most[w] - higher);
        }
        out[blockIdx.x] = (float)((double)row[targets[blockIdx.x]] - higher - log(total));
    }
}

#define FOR_DTYPE(NAME, T)                                                                                             \
    extern "C" __global__ void split_heads_##NAME(                                                                     \
        const T *qkv, const T *bias, unsigned has_bias, const float *cos, const float *sin, const unsigned *firsts,    \
        const unsigned *lens, unsigned batch, unsigned longest, unsigned heads, unsigned kv, unsigned dim, T *out) {    \
        split_heads(qkv, bias, has_bias, cos, sin, firsts, lens, batch, longest, heads, kv, dim, out);                 \
    }                                                                                                                  \
    extern "C" __global__ void causal_softmax_##NAME(const float *scores, float scale, unsigned long long lines,       \
                                                     unsigned rows, unsigned start, unsigned seen, T *out) {           \
        causal_softmax(scores, scale, lines, rows, start, seen, out);                                                  \
    }                                                                                                                  \
    extern "C" __global__ void merge_heads_##NAME(const T *mixed, const unsigned *firsts, const unsigned *lens,        \
                                                  unsigned batch, unsigned rows, unsigned start, unsigned heads,       \
                                                  unsigned kv, unsigned dim, T *out) {                                 \
        merge_heads(mixed, firsts, lens, batch, rows, start, heads, kv, dim, out);                                     \
    }                                                                                                                  \
    extern "C" __global__ void swiglu_##NAME(const T *gate_up, unsigned long long values, unsigned width, T *out) {    \
        swiglu(gate_up, values, width, out);                                                                           \
    }

FOR_DTYPE(bf16, bf16)
FOR_DTYPE(f32, float)

extern "C" __global__ void swiglu_pairs_bf16(const unsigned *gate_up, unsigned long long values, unsigned width,
                                             unsigned *out) {
    swiglu_pairs(gate_up, values, width, out);
}

extern "C" __global__ void log_probs_f32(const float *logits, const unsigned *targets, unsigned vocab, float *out) {
    log_probs(logits, targets, vocab, out);
}
