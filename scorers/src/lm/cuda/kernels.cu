// The decoder's steps between matrix products, each in one pass over memory.
//
// bf16 is read and written by its bits, so that no header is needed. All arithmetic is f32. T is
// the dtype of weights and activations. V is the number of values that a thread takes at once: 8,
// or 1 where 8 does not divide a width.

typedef unsigned short bf16;

__device__ inline float wide(bf16 x) { return __uint_as_float(((unsigned)x) << 16); }
__device__ inline bf16 narrow(float x) {
    // Rounds to the nearest value, ties to even. A NaN stays a NaN.
    const unsigned bits = __float_as_uint(x);
    return x != x ? 0x7fff : (bf16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

template <unsigned V> __device__ inline void load(const float *p, float (&x)[V]) {
    if (V % 4 == 0) {
        for (unsigned i = 0; i < V; i += 4) {
            const float4 four = *(const float4 *)(p + i);
            x[i] = four.x, x[i + 1] = four.y, x[i + 2] = four.z, x[i + 3] = four.w;
        }
    } else {
        for (unsigned i = 0; i < V; ++i) x[i] = p[i];
    }
}
template <unsigned V> __device__ inline void load(const bf16 *p, float (&x)[V]) {
    if (V == 8) {
        const uint4 eight = *(const uint4 *)p;
        const unsigned pairs[4] = {eight.x, eight.y, eight.z, eight.w};
        for (unsigned i = 0; i < V; ++i) x[i] = wide((bf16)(pairs[i / 2] >> (i % 2 * 16)));
    } else {
        for (unsigned i = 0; i < V; ++i) x[i] = wide(p[i]);
    }
}
template <unsigned V> __device__ inline void store(float *p, const float (&x)[V]) {
    if (V % 4 == 0) {
        for (unsigned i = 0; i < V; i += 4) *(float4 *)(p + i) = make_float4(x[i], x[i + 1], x[i + 2], x[i + 3]);
    } else {
        for (unsigned i = 0; i < V; ++i) p[i] = x[i];
    }
}
template <unsigned V> __device__ inline void store(bf16 *p, const float (&x)[V]) {
    for (unsigned i = 0; i < V; ++i) p[i] = narrow(x[i]);
}
__device__ inline unsigned pair(float low, float high) { return narrow(low) | (unsigned)narrow(high) << 16; }
template <> __device__ inline void store(bf16 *p, const float (&x)[4]) {
    *(uint2 *)p = make_uint2(pair(x[0], x[1]), pair(x[2], x[3]));
}
template <> __device__ inline void store(bf16 *p, const float (&x)[8]) {
    *(uint4 *)p = make_uint4(pair(x[0], x[1]), pair(x[2], x[3]), pair(x[4], x[5]), pair(x[6], x[7]));
}

__device__ inline float sum_of_warp(float x) {
    for (unsigned d = 16; d > 0; d /= 2) x += __shfl_xor_sync(0xffffffff, x, d);
    return x;
}
__device__ inline float max_of_warp(float x) {
    for (unsigned d = 16; d > 0; d /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, d));
    return x;
}

// Distributes places of `items` threads each over the blocks, several places to a block where they
// fit. Gives the place of this thread, and the thread's first item of that place.
struct Share {
    unsigned long long place;
    unsigned item;
    bool is_idle;
    __device__ Share(unsigned items, unsigned long long places) {
        const unsigned in_block = items < blockDim.x ? blockDim.x / items : 1;
        const unsigned own = items < blockDim.x ? threadIdx.x / items : 0;
        place = blockIdx.x * (unsigned long long)in_block + own;
        item = items < blockDim.x ? threadIdx.x % items : threadIdx.x;
        is_idle = own >= in_block || place >= places;
    }
};

// Adds biases, rotates q and k, and lays the windows of a batch side by side, padded with zeros on
// the right: qkv [tokens, (heads + 2 kv) · dim] -> q, k and v, one after the other.
//
// k and v are [kv, batch, longest, dim]. q is cut into chunks of `rows` places, each [kv, batch,
// heads / kv, places, dim]. cos and sin are [positions, dim / 2].
template <typename T, unsigned V>
__device__ void split_heads(const T *qkv, const T *bias, unsigned has_bias, const float *cos, const float *sin,
                            const unsigned *firsts, const unsigned *lens, unsigned batch, unsigned longest,
                            unsigned rows, unsigned heads, unsigned kv, unsigned dim, T *out) {
    const unsigned half = dim / 2, group = heads / kv, items = (heads + 2 * kv) * half / V;
    const Share share(items, (unsigned long long)batch * longest);
    if (share.is_idle) return;
    const unsigned b = share.place / longest, place = share.place % longest;
    const bool is_padding = place >= lens[b];
    const T *row = qkv + (unsigned long long)(firsts[b] + (is_padding ? 0 : place)) * (heads + 2 * kv) * dim;
    const unsigned start = place / rows * rows, places = min(rows, longest - start);
    for (unsigned item = share.item; item < items; item += blockDim.x) {
        const unsigned head = item / (half / V), i = item % (half / V) * V, at = head * dim + i;
        float x[V] = {}, y[V] = {};
        if (!is_padding) {
            load(row + at, x);
            load(row + at + half, y);
            if (has_bias) {
                float more[V];
                load(bias + at, more);
                for (unsigned j = 0; j < V; ++j) x[j] += more[j];
                load(bias + at + half, more);
                for (unsigned j = 0; j < V; ++j) y[j] += more[j];
            }
            if (head < heads + kv) {
                float c[V], s[V];
                load(cos + place * half + i, c);
                load(sin + place * half + i, s);
                for (unsigned j = 0; j < V; ++j) {
                    const float x0 = x[j];
                    x[j] = x0 * c[j] - y[j] * s[j];
                    y[j] = y[j] * c[j] + x0 * s[j];
                }
            }
        }
        // In units of dim values. Products of counts are taken in 64 bits, because a batch may have
        // more than 2^32 values.
        unsigned long long to;
        if (head < heads) {
            const unsigned long long of_heads = ((unsigned long long)(head / group) * batch + b) * group + head % group;
            to = (unsigned long long)heads * batch * start + of_heads * places + (place - start);
        } else {
            to = ((unsigned long long)heads * batch + (unsigned long long)(head - heads) * batch + b) * longest + place;
        }
        store(out + to * dim + i, x);
        store(out + to * dim + i + half, y);
    }
}

// Softmax of scaled scores over the columns that a line may see: scores [lines, seen] -> weights
// [lines, seen].
//
// Line r is row start + r % rows of its window, and sees the columns up to and including that row.
// `seen` is a multiple of 4. Each line has a warp, which holds the line in registers if it has up
// to 512 columns.
template <typename T>
__device__ void causal_softmax(const float *scores, float scale, unsigned long long lines, unsigned rows,
                               unsigned start, unsigned seen, T *out) {
    const unsigned long long line = blockIdx.x * (unsigned long long)(blockDim.x / 32) + threadIdx.x / 32;
    if (line >= lines) return;
    const unsigned lane = threadIdx.x % 32, columns = min(seen, start + (unsigned)(line % rows) + 1);
    const float *row = scores + line * seen;
    T *to = out + line * seen;
    const float lowest = __int_as_float(0xff800000);
    if (seen <= 512) {
        float x[4][4], most = lowest, sum = 0;
#pragma unroll
        for (unsigned n = 0; n < 4; ++n) {
            const unsigned at = (n * 32 + lane) * 4;
            if (at < columns) load(row + at, x[n]);
            for (unsigned j = 0; j < 4; ++j) {
                if (at + j >= columns) x[n][j] = lowest;
                most = fmaxf(most, x[n][j]);
            }
        }
        most = max_of_warp(most);
#pragma unroll
        for (unsigned n = 0; n < 4; ++n) {
            // Columns that are not seen hold -inf, so they become 0.
            for (unsigned j = 0; j < 4; ++j) sum += x[n][j] = __expf((x[n][j] - most) * scale);
        }
        const float inverse = 1 / sum_of_warp(sum);
#pragma unroll
        for (unsigned n = 0; n < 4; ++n) {
            const unsigned at = (n * 32 + lane) * 4;
            for (unsigned j = 0; j < 4; ++j) x[n][j] *= inverse;
            if (at < seen) store(to + at, x[n]);
        }
        return;
    }
    // A longer line is read three times instead of being held.
    float most = lowest, sum = 0;
    for (unsigned j = lane; j < columns; j += 32) most = fmaxf(most, row[j]);
    most = max_of_warp(most);
    for (unsigned j = lane; j < columns; j += 32) sum += __expf((row[j] - most) * scale);
    const float inverse = 1 / sum_of_warp(sum);
    for (unsigned j = lane; j < seen; j += 32) {
        const float x[1] = {j < columns ? __expf((row[j] - most) * scale) * inverse : 0};
        store(to + j, x);
    }
}

// Writes a chunk of rows back to the order of tokens: mixed [kv, batch, heads / kv, rows, dim] ->
// out [tokens, heads · dim].
template <typename T, unsigned V>
__device__ void merge_heads(const T *mixed, const unsigned *firsts, const unsigned *lens, unsigned batch,
                            unsigned rows, unsigned start, unsigned heads, unsigned kv, unsigned dim, T *out) {
    const unsigned group = heads / kv, items = heads * dim / V;
    const Share share(items, (unsigned long long)batch * rows);
    if (share.is_idle) return;
    const unsigned b = share.place / rows, row = share.place % rows;
    if (start + row >= lens[b]) return;
    T *to = out + (unsigned long long)(firsts[b] + start + row) * heads * dim;
    for (unsigned item = share.item; item < items; item += blockDim.x) {
        const unsigned at = item * V, head = at / dim;
        const unsigned long long of_heads = ((unsigned long long)(head / group) * batch + b) * group + head % group;
        float x[V];
        load(mixed + (of_heads * rows + row) * dim + at % dim, x);
        store(to + at, x);
    }
}

// Adds y to x in place, if there is a y, and writes the RMS norm of x times weight: x, y [rows,
// width] -> out. Each row has a warp.
template <typename T, unsigned V>
__device__ void add_norm(T *x, const T *y, unsigned has_y, const T *weight, unsigned rows, unsigned width, float eps,
                         T *out) {
    const unsigned row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows) return;
    const unsigned long long first = (unsigned long long)row * width;
    float squares = 0;
    for (unsigned at = lane * V; at < width; at += 32 * V) {
        float a[V];
        load(x + first + at, a);
        if (has_y) {
            float b[V];
            load(y + first + at, b);
            for (unsigned j = 0; j < V; ++j) a[j] += b[j];
            store(x + first + at, a);
            // Reads x back as it is stored, so that the norm is of the same rounded values that the
            // next layer adds to.
            load(x + first + at, a);
        }
        for (unsigned j = 0; j < V; ++j) squares += a[j] * a[j];
    }
    const float scale = rsqrtf(sum_of_warp(squares) / width + eps);
    for (unsigned at = lane * V; at < width; at += 32 * V) {
        float a[V], w[V];
        load(x + first + at, a);
        load(weight + at, w);
        for (unsigned j = 0; j < V; ++j) a[j] *= scale * w[j];
        store(out + first + at, a);
    }
}

// silu(gate) · up: [tokens, 2 · width] -> [tokens, width]. Each token has a block.
template <typename T, unsigned V>
__device__ void swiglu(const T *gate_up, unsigned width, T *out) {
    const T *row = gate_up + (unsigned long long)blockIdx.x * 2 * width;
    T *to = out + (unsigned long long)blockIdx.x * width;
    for (unsigned at = threadIdx.x * V; at < width; at += blockDim.x * V) {
        float gate[V], up[V];
        load(row + at, gate);
        load(row + at + width, up);
        for (unsigned j = 0; j < V; ++j) gate[j] = gate[j] / (1 + __expf(-gate[j])) * up[j];
        store(to + at, gate);
    }
}

// ln p of the target of each row: logits [rows, vocab] -> [rows]. Each row has a block of up to 32
// warps.
template <unsigned V>
__device__ void log_probs(const float *logits, const unsigned *targets, unsigned vocab, float *out) {
    __shared__ float shared_most[32], shared_sum[32];
    const float *row = logits + blockIdx.x * (unsigned long long)vocab;
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const float lowest = __int_as_float(0xff800000);
    float most = lowest, sum = 0;
    for (unsigned at = threadIdx.x * V; at < vocab; at += blockDim.x * V) {
        float x[V], highest = lowest;
        load(row + at, x);
        for (unsigned j = 0; j < V; ++j) highest = fmaxf(highest, x[j]);
        // The sum so far is relative to the former maximum.
        if (highest > most) {
            sum *= __expf(most - highest);
            most = highest;
        }
        // A NaN is never the maximum, but it enters the sum and stays there.
        for (unsigned j = 0; j < V; ++j) sum += __expf(x[j] - most);
    }
    const float higher = max_of_warp(most);
    // A thread that saw no column has the maximum -inf, and -inf - -inf would be NaN.
    sum = sum_of_warp(most == lowest ? sum : sum * __expf(most - higher));
    if (lane == 0) {
        shared_most[warp] = higher;
        shared_sum[warp] = sum;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        // Up to 32 partial sums are joined in f64 by one thread.
        float highest = lowest;
        double total = 0;
        for (unsigned w = 0; w < blockDim.x / 32; ++w) highest = fmaxf(highest, shared_most[w]);
        for (unsigned w = 0; w < blockDim.x / 32; ++w) {
            total += shared_most[w] == lowest ? shared_sum[w] : shared_sum[w] * (double)expf(shared_most[w] - highest);
        }
        out[blockIdx.x] = (float)((double)row[targets[blockIdx.x]] - highest - log(total));
    }
}

#define FOR_WIDTH(NAME, T, V)                                                                                          \
    extern "C" __global__ void split_heads_##NAME(                                                                     \
        const T *qkv, const T *bias, unsigned has_bias, const float *cos, const float *sin, const unsigned *firsts,    \
        const unsigned *lens, unsigned batch, unsigned longest, unsigned rows, unsigned heads, unsigned kv,            \
        unsigned dim, T *out) {                                                                                        \
        split_heads<T, V>(qkv, bias, has_bias, cos, sin, firsts, lens, batch, longest, rows, heads, kv, dim, out);     \
    }                                                                                                                  \
    extern "C" __global__ void merge_heads_##NAME(const T *mixed, const unsigned *firsts, const unsigned *lens,        \
                                                  unsigned batch, unsigned rows, unsigned start, unsigned heads,       \
                                                  unsigned kv, unsigned dim, T *out) {                                 \
        merge_heads<T, V>(mixed, firsts, lens, batch, rows, start, heads, kv, dim, out);                               \
    }                                                                                                                  \
    extern "C" __global__ void add_norm_##NAME(T *x, const T *y, unsigned has_y, const T *weight, unsigned rows,       \
                                               unsigned width, float eps, T *out) {                                    \
        add_norm<T, V>(x, y, has_y, weight, rows, width, eps, out);                                                    \
    }                                                                                                                  \
    extern "C" __global__ void swiglu_##NAME(const T *gate_up, unsigned width, T *out) {                               \
        swiglu<T, V>(gate_up, width, out);                                                                             \
    }

#define FOR_DTYPE(NAME, T)                                                                                             \
    FOR_WIDTH(NAME##_1, T, 1)                                                                                          \
    FOR_WIDTH(NAME##_8, T, 8)                                                                                          \
    extern "C" __global__ void causal_softmax_##NAME(const float *scores, float scale, unsigned long long lines,       \
                                                     unsigned rows, unsigned start, unsigned seen, T *out) {           \
        causal_softmax<T>(scores, scale, lines, rows, start, seen, out);                                               \
    }

FOR_DTYPE(bf16, bf16)
FOR_DTYPE(f32, float)

extern "C" __global__ void log_probs_1(const float *logits, const unsigned *targets, unsigned vocab, float *out) {
    log_probs<1>(logits, targets, vocab, out);
}
extern "C" __global__ void log_probs_8(const float *logits, const unsigned *targets, unsigned vocab, float *out) {
    log_probs<8>(logits, targets, vocab, out);
}
