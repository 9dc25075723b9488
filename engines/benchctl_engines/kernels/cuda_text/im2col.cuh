// Convolutions as matrix products: the input unfolded into columns, columns folded back into a
// gradient, and what follows a product. `real` is what is stored, `work` what is
// computed with, float for halves; `index_t` counts elements.
//
// Axes: N batch, C channels in, K channels out, H W input, R S filter, P Q output. Columns are
// [N*P*Q, depth], depth running over (c, r, s) or, with channels_last, over (r, s, c).

extern "C" __global__ void __launch_bounds__(256) im2col(
    real *__restrict__ columns, const real *__restrict__ x, index_t count,
    int C, int H, int W, int R, int S, int P, int Q,
    int stride_h, int stride_w, int top, int left, int nchw, int channels_last)
{
    index_t i = (index_t)blockIdx.x * 256 + threadIdx.x;
    if (i >= count) return;
    int depth = C * R * S;
    index_t position = i / depth;
    int column = (int)(i - position * depth);
    int c = channels_last ? column % C : column / (R * S);
    int tap = channels_last ? column / C : column % (R * S);
    int r = tap / S, s = tap - r * S;
    index_t row = position / Q;
    int q = (int)(position - row * Q);
    index_t n = row / P;
    int p = (int)(row - n * P);
    int h = p * stride_h - top + r, w = q * stride_w - left + s;
    real value = 0;
    if (h >= 0 && h < H && w >= 0 && w < W)
        value = nchw ? x[((n * C + c) * H + h) * W + w] : x[((n * H + h) * W + w) * C + c];
    columns[i] = value;
}

// Each place of the input gathers what the filter taps sent to it, always in the same order.
extern "C" __global__ void __launch_bounds__(256) col2im(
    real *__restrict__ x, const real *__restrict__ columns, index_t count,
    int C, int H, int W, int R, int S, int P, int Q,
    int stride_h, int stride_w, int top, int left, int nchw, int channels_last)
{
    index_t i = (index_t)blockIdx.x * 256 + threadIdx.x;
    if (i >= count) return;
    int c, h, w;
    index_t n, rest;
    if (nchw) {
        rest = i / W, w = (int)(i - rest * W);
        n = rest / H, h = (int)(rest - n * H);
        rest = n / C, c = (int)(n - rest * C);
        n = rest;
    } else {
        rest = i / C, c = (int)(i - rest * C);
        n = rest / W, w = (int)(rest - n * W);
        rest = n / H, h = (int)(n - rest * H);
        n = rest;
    }
    int depth = C * R * S;
    work sum = 0;
    for (int r = 0; r < R; r++) {
        int across = h + top - r;
        int p = across / stride_h;
        if (across < 0 || p * stride_h != across || p >= P) continue;
        for (int s = 0; s < S; s++) {
            int along = w + left - s;
            int q = along / stride_w;
            if (along < 0 || q * stride_w != along || q >= Q) continue;
            int column = channels_last ? (r * S + s) * C + c : (c * R + r) * S + s;
            sum += columns[((n * P + p) * Q + q) * depth + column];
        }
    }
    x[i] = sum;
}

// A NaN stays one, as in NumPy's maximum.
static __device__ __forceinline__ work larger(work a, work b) { return a >= b || a != a ? a : b; }

// out = in + bias, then ReLU and the maxima of 2x2 squares where asked, in either order of axes.
// `in` is a map of P x Q positions; out_P x out_Q are written. `out` may be `in`.
extern "C" __global__ void __launch_bounds__(256) finish(
    real *out, const real *in, const real *__restrict__ bias,
    index_t count, int K, int P, int Q, int out_P, int out_Q,
    int in_nchw, int out_nchw, int pool, int biased, int relu)
{
    index_t i = (index_t)blockIdx.x * 256 + threadIdx.x;
    if (i >= count) return;
    int k, p, q;
    index_t n, rest;
    if (out_nchw) {
        rest = i / out_Q, q = (int)(i - rest * out_Q);
        n = rest / out_P, p = (int)(rest - n * out_P);
        rest = n / K, k = (int)(n - rest * K);
        n = rest;
    } else {
        rest = i / K, k = (int)(i - rest * K);
        n = rest / out_Q, q = (int)(rest - n * out_Q);
        rest = n / out_P, p = (int)(n - rest * out_P);
        n = rest;
    }
    index_t along = in_nchw ? 1 : K, across = along * Q;
    int side = pool ? 2 : 1;
    const real *from = in_nchw ? in + (n * K + k) * P * Q : in + n * P * Q * K + k;
    from += across * p * side + along * q * side;
    work value = from[0];
    if (pool) value = larger(larger(value, from[along]), larger(from[across], from[across + along]));
    if (biased) value += bias[k];
    if (relu) value = value < 0 ? 0 : value;
    out[i] = value;
}
