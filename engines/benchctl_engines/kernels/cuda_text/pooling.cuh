// Max and average pooling. Images are [N, H, W, C]; in NCHW every plane is an image of one channel. Offsets are
// the row-major index within the window of its first maximum; NaN counts as the largest value and
// padding never wins. P x Q out, windows of R x S.
//
// REAL is the type that is stored, WORK the one that is summed in.
#define WINDOW int R, int S, int stride_h, int stride_w, int top, int left

static __device__ __forceinline__ bool beats(REAL value, REAL best) {
    return value > best || (value != value && best == best);
}

#define EACH(i, n)                                                             \
    for (index_t i = (index_t)blockIdx.x * 256 + threadIdx.x; i < (n);         \
         i += (index_t)gridDim.x * 256)

// Where element i of [image, rows, columns, C] lies.
#define PLACE(i, columns, rows)                                                \
    const index_t pixel = QUOTIENT(i, C), c = i - pixel * C;                   \
    const index_t line = QUOTIENT(pixel, columns);                             \
    const int column = (int)(pixel - line * columns);                          \
    const index_t image = QUOTIENT(line, rows);                                \
    const int row = (int)(line - image * rows)

extern "C" __global__ void __launch_bounds__(256, 1) max_pool(
    REAL* __restrict__ y, unsigned char* __restrict__ offsets, const REAL* __restrict__ x,
    index_t n, DIVISOR(C), DIVISOR(Q), DIVISOR(P), int H, int W, WINDOW) {
    EACH(i, n) {
        PLACE(i, Q, P);
        const int h0 = row * stride_h - top, w0 = column * stride_w - left;
        REAL best = (REAL)__int_as_float((int)0xff800000u);
        int winner = -1;
        for (int r = h0 < 0 ? -h0 : 0; r < R && h0 + r < H; r++) {
            for (int s = w0 < 0 ? -w0 : 0; s < S && w0 + s < W; s++) {
                const REAL value = x[((image * H + h0 + r) * W + w0 + s) * C + c];
                if (winner < 0 || beats(value, best)) {
                    best = value;
                    winner = r * S + s;
                }
            }
        }
        y[i] = best;
        offsets[i] = (unsigned char)(winner < 0 ? 0 : winner);
    }
}

// Each element gathers from the windows that cover it, in the order in which the CPU adds: rows of
// windows from the last one where `falling`, else from the first.
extern "C" __global__ void __launch_bounds__(256, 1) max_pool_gradient(
    REAL* __restrict__ dx, const REAL* __restrict__ g, const unsigned char* __restrict__ offsets,
    index_t n, DIVISOR(C), DIVISOR(W), DIVISOR(H), int P, int Q, WINDOW, int falling) {
    EACH(i, n) {
        PLACE(i, W, H);
        const int h = row + top, w = column + left;
        const int p0 = h < R ? 0 : (h - R) / stride_h + 1, q0 = w < S ? 0 : (w - S) / stride_w + 1;
        const int p1 = h / stride_h < P ? h / stride_h : P - 1;
        const int q1 = w / stride_w < Q ? w / stride_w : Q - 1;
        WORK total = 0;
        for (int k = 0; k <= p1 - p0; k++) {
            const int p = falling ? p1 - k : p0 + k;
            for (int q = q0; q <= q1; q++) {
                const index_t at = ((image * P + p) * Q + q) * C + c;
                if (offsets[at] == (h - p * stride_h) * S + w - q * stride_w) total += g[at];
            }
        }
        dx[i] = total;
    }
}

extern "C" __global__ void __launch_bounds__(256, 1) max_pool_gather(
    REAL* __restrict__ out, const REAL* __restrict__ u, const unsigned char* __restrict__ offsets,
    index_t n, DIVISOR(C), DIVISOR(Q), DIVISOR(P), int H, int W, WINDOW) {
    EACH(i, n) {
        PLACE(i, Q, P);
        const int offset = offsets[i], r = offset / S;
        const int h = row * stride_h - top + r, w = column * stride_w - left + offset - r * S;
        const bool inside = h >= 0 && h < H && w >= 0 && w < W;
        out[i] = inside ? u[((image * H + h) * W + w) * C + c] : (REAL)0;
    }
}

// ----- averages: over the elements of a window that lie inside the image -------------------------

// How many of `size` places a window of R from `start` on covers.
static __device__ __forceinline__ int inside(int start, int R, int size) {
    const int stop = start + R < size ? start + R : size;
    return stop - (start < 0 ? 0 : start);
}

extern "C" __global__ void __launch_bounds__(256, 1) average_pool(
    REAL* __restrict__ y, const REAL* __restrict__ x, index_t n, DIVISOR(C), DIVISOR(Q), DIVISOR(P),
    int H, int W, WINDOW) {
    EACH(i, n) {
        PLACE(i, Q, P);
        const int h0 = row * stride_h - top, w0 = column * stride_w - left;
        WORK total = 0;
        for (int r = h0 < 0 ? -h0 : 0; r < R && h0 + r < H; r++)
            for (int s = w0 < 0 ? -w0 : 0; s < S && w0 + s < W; s++)
                total += x[((image * H + h0 + r) * W + w0 + s) * C + c];
        y[i] = total / (WORK)(inside(h0, R, H) * inside(w0, S, W));
    }
}

// Each element gathers its share from the windows that cover it.
extern "C" __global__ void __launch_bounds__(256, 1) average_pool_gradient(
    REAL* __restrict__ dx, const REAL* __restrict__ g, index_t n, DIVISOR(C), DIVISOR(W),
    DIVISOR(H), int P, int Q, WINDOW) {
    EACH(i, n) {
        PLACE(i, W, H);
        const int h = row + top, w = column + left;
        const int p0 = h < R ? 0 : (h - R) / stride_h + 1, q0 = w < S ? 0 : (w - S) / stride_w + 1;
        const int p1 = h / stride_h < P ? h / stride_h : P - 1;
        const int q1 = w / stride_w < Q ? w / stride_w : Q - 1;
        WORK total = 0;
        for (int p = p0; p <= p1; p++)
            for (int q = q0; q <= q1; q++)
                total += g[((image * P + p) * Q + q) * C + c] /
                         (WORK)(inside(p * stride_h - top, R, (int)H) *
                                inside(q * stride_w - left, S, (int)W));
        dx[i] = total;
    }
}

// Windows of 2 x 2 side by side, without padding -------------------------------------------------

template <int N> struct Winner {
    Pack<REAL, N> best;
    Pack<unsigned char, N> place;
    __device__ __forceinline__ void start(const Pack<REAL, N>& values) {
        best = values;
#pragma unroll
        for (int k = 0; k < N; k++) place.at[k] = 0;
    }
    __device__ __forceinline__ void meet(const Pack<REAL, N>& values, int tap) {
#pragma unroll
        for (int k = 0; k < N; k++) {
            const bool wins = beats(values.at[k], best.at[k]);
            best.at[k] = wins ? values.at[k] : best.at[k];
            place.at[k] = wins ? (unsigned char)tap : place.at[k];
        }
    }
};

// One channel: a thread reads two pairs and writes one element; n elements.
extern "C" __global__ void __launch_bounds__(256, 1) max_pool_2x2_planes(
    REAL* __restrict__ y, unsigned char* __restrict__ offsets, const REAL* __restrict__ x,
    index_t n, DIVISOR(Q), DIVISOR(P), int H, int W) {
    const bool paired = W % 2 == 0 && address(x) % (2 * sizeof(REAL)) == 0;
    EACH(i, n) {
        const index_t line = QUOTIENT(i, Q), image = QUOTIENT(line, P);
        const REAL* above = x + (image * H + 2 * (line - image * P)) * W + 2 * (i - line * Q);
        Pack<REAL, 2> upper, lower;
        if (paired) {
            upper = load<2>(above);
            lower = load<2>(above + W);
        } else {
            upper = {{above[0], above[1]}};
            lower = {{above[W], above[W + 1]}};
        }
        Winner<1> winner;
        winner.start({{upper.at[0]}});
        winner.meet({{upper.at[1]}}, 1);
        winner.meet({{lower.at[0]}}, 2);
        winner.meet({{lower.at[1]}}, 3);
        y[i] = winner.best.at[0];
        offsets[i] = winner.place.at[0];
    }
}

// dx[2P, 2Q] of planes, written once each; n pooled elements.
extern "C" __global__ void __launch_bounds__(256, 1) max_pool_2x2_gradient_planes(
    REAL* __restrict__ dx, const REAL* __restrict__ g, const unsigned char* __restrict__ offsets,
    index_t n, DIVISOR(Q)) {
    const bool paired = address(dx) % (2 * sizeof(REAL)) == 0;
    EACH(i, n) {
        const index_t line = QUOTIENT(i, Q);
        REAL* above = dx + 4 * line * Q + 2 * (i - line * Q);
        REAL* below = above + 2 * Q;
        const REAL value = g[i];
        const int place = offsets[i];
        const REAL w0 = place == 0 ? value : (REAL)0, w1 = place == 1 ? value : (REAL)0;
        const REAL w2 = place == 2 ? value : (REAL)0, w3 = place == 3 ? value : (REAL)0;
        if (paired) {
            store<2>(above, {{w0, w1}});
            store<2>(below, {{w2, w3}});
        } else {
            above[0] = w0;
            above[1] = w1;
            below[0] = w2;
            below[1] = w3;
        }
    }
}

#define CHANNELS (16 / (int)sizeof(REAL))

// A pack of neighbouring channels, wherever it lies.
template <class T> static __device__ __forceinline__ Pack<T, CHANNELS> take(
    const T* from, bool aligned) {
    if (aligned) return load<CHANNELS>(from);
    Pack<T, CHANNELS> values;
#pragma unroll
    for (int k = 0; k < CHANNELS; k++) values.at[k] = from[k];
    return values;
}
template <class T> static __device__ __forceinline__ void put(
    T* to, const Pack<T, CHANNELS>& values, bool aligned) {
    if (aligned) {
        store<CHANNELS>(to, values);
    } else {
#pragma unroll
        for (int k = 0; k < CHANNELS; k++) to[k] = values.at[k];
    }
}

// Many channels: a thread takes 16 bytes of them; n packs, `packs` of them a pixel.
extern "C" __global__ void __launch_bounds__(256, 1) max_pool_2x2_channels(
    REAL* __restrict__ y, unsigned char* __restrict__ offsets, const REAL* __restrict__ x,
    index_t n, DIVISOR(packs), DIVISOR(Q), DIVISOR(P), int H, int W) {
    const bool aligned = (address(y) | address(offsets) | address(x)) % 16 == 0;
    const index_t C = packs * CHANNELS;
    EACH(i, n) {
        const index_t pixel = QUOTIENT(i, packs), line = QUOTIENT(pixel, Q);
        const index_t image = QUOTIENT(line, P);
        const index_t corner = (image * H + 2 * (line - image * P)) * W + 2 * (pixel - line * Q);
        const REAL* above = x + corner * C + (i - pixel * packs) * CHANNELS;
        Winner<CHANNELS> winner;
        winner.start(take(above, aligned));
        winner.meet(take(above + C, aligned), 1);
        winner.meet(take(above + W * C, aligned), 2);
        winner.meet(take(above + W * C + C, aligned), 3);
        put(y + i * CHANNELS, winner.best, aligned);
        put(offsets + i * CHANNELS, winner.place, aligned);
    }
}

// dx[2P, 2Q, C], written once each; n packs of pooled channels.
extern "C" __global__ void __launch_bounds__(256, 1) max_pool_2x2_gradient_channels(
    REAL* __restrict__ dx, const REAL* __restrict__ g, const unsigned char* __restrict__ offsets,
    index_t n, DIVISOR(packs), DIVISOR(Q)) {
    const bool aligned = (address(dx) | address(offsets) | address(g)) % 16 == 0;
    const index_t C = packs * CHANNELS;
    EACH(i, n) {
        const index_t pixel = QUOTIENT(i, packs), line = QUOTIENT(pixel, Q);
        const index_t corner = 4 * line * Q + 2 * (pixel - line * Q);
        REAL* above = dx + corner * C + (i - pixel * packs) * CHANNELS;
        const Pack<REAL, CHANNELS> values = take(g + i * CHANNELS, aligned);
        const Pack<unsigned char, CHANNELS> places = take(offsets + i * CHANNELS, aligned);
#pragma unroll
        for (int tap = 0; tap < 4; tap++) {
            Pack<REAL, CHANNELS> chosen;
#pragma unroll
            for (int k = 0; k < CHANNELS; k++)
                chosen.at[k] = places.at[k] == tap ? values.at[k] : (REAL)0;
            put(above + (tap / 2) * (2 * Q * C) + (tap % 2) * C, chosen, aligned);
        }
    }
}
