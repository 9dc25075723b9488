// 3x3 convolutions of stride 1 by Winograd's minimal filtering F(4x4, 3x3). What stands above this
// text is generated: product_NAME(in, out), the transforms of one line (see cuda_winograd_text.py).
//
// A domain array holds some tiles, from `first` on in the order of images and rows. It has 36 points,
// each a matrix over tiles and channels, `point` floats apart. Channels last: [tiles][channels];
// first: [groups][channels][tiles of a group]. The kernels give thread i element i of every point,
// so that a warp reads and writes neighbours there.
//
// A tile of results is 4x4 at (4*th, 4*tw); it sees 6x6 of the image from (4*th - top, 4*tw - left).

struct Place {
    int n, th, tw, channel;
    bool inside;
};

static __device__ __forceinline__ Place place_of(
    int i, int channels, int first, int tiles, int group_tiles, int image_tiles, int tiles_wide,
    int nchw)
{
    Place at;
    int tile;
    if (nchw) {
        int rest = i / group_tiles;
        int group = rest / channels;
        at.channel = rest - group * channels;
        tile = i - rest * group_tiles + group * group_tiles;
    } else {
        tile = i / channels;
        at.channel = i - tile * channels;
    }
    at.inside = tile < tiles;
    tile += first;
    at.n = tile / image_tiles;
    int left_over = tile - at.n * image_tiles;
    at.th = left_over / tiles_wide;
    at.tw = left_over - at.th * tiles_wide;
    return at;
}

// Where a channel of an image starts, and how far apart its columns and rows are.
struct Plane {
    long long start;
    int along, across;
};

static __device__ __forceinline__ Plane plane_of(Place at, int channels, int H, int W, int nchw)
{
    long long image = (long long)at.n * channels * H * W;
    if (nchw) return {image + at.channel * H * W, 1, W};
    return {image + at.channel, channels, W * channels};
}

// Squares of the image go into the domain: 6x6 by B^T for images, 4x4 by A for gradients of results.
template <int SIDE, void (*PRODUCT)(const float *, float *)>
static __device__ __forceinline__ void into_domain(
    float *domain, const float *image, int i, int point, Place at, Plane plane,
    int H, int W, int top, int left)
{
    float half[6][SIDE];
    int h0 = at.th * 4 - top, w0 = at.tw * 4 - left;
#pragma unroll
    for (int b = 0; b < SIDE; b++) {
        float column[SIDE], made[6];
        int w = w0 + b;
#pragma unroll
        for (int a = 0; a < SIDE; a++) {
            int h = h0 + a;
            bool seen = at.inside && h >= 0 && h < H && w >= 0 && w < W;
            column[a] = seen ? image[plane.start + h * plane.across + w * plane.along] : 0.0f;
        }
        PRODUCT(column, made);
#pragma unroll
        for (int a = 0; a < 6; a++) half[a][b] = made[a];
    }
#pragma unroll
    for (int a = 0; a < 6; a++) {
        float made[6];
        PRODUCT(half[a], made);
#pragma unroll
        for (int b = 0; b < 6; b++) domain[(a * 6 + b) * (long long)point + i] = made[b];
    }
}

extern "C" __global__ void __launch_bounds__(128) image_in(
    float *__restrict__ domain, const float *__restrict__ image, int count, int point,
    int channels, int first, int tiles, int group_tiles, int image_tiles, int tiles_wide,
    int H, int W, int top, int left, int nchw)
{
    int i = blockIdx.x * 128 + threadIdx.x;
    if (i >= count) return;
    Place at =
        place_of(i, channels, first, tiles, group_tiles, image_tiles, tiles_wide, nchw);
    Plane plane = plane_of(at, channels, H, W, nchw);
    into_domain<6, product_image>(domain, image, i, point, at, plane, H, W, top, left);
}

extern "C" __global__ void __launch_bounds__(128) gradient_in(
    float *__restrict__ domain, const float *__restrict__ image, int count, int point,
    int channels, int first, int tiles, int group_tiles, int image_tiles, int tiles_wide,
    int H, int W, int top, int left, int nchw)
{
    int i = blockIdx.x * 128 + threadIdx.x;
    if (i >= count) return;
    Place at =
        place_of(i, channels, first, tiles, group_tiles, image_tiles, tiles_wide, nchw);
    Plane plane = plane_of(at, channels, H, W, nchw);
    into_domain<4, product_gradient>(domain, image, i, point, at, plane, H, W, top, left);
}

static __device__ __forceinline__ void out_of_domain(
    float made[4][4], const float *domain, int i, int point)
{
    float half[4][6];
#pragma unroll
    for (int b = 0; b < 6; b++) {
        float column[6], line[4];
#pragma unroll
        for (int a = 0; a < 6; a++) column[a] = domain[(a * 6 + b) * (long long)point + i];
        product_result(column, line);
#pragma unroll
        for (int a = 0; a < 4; a++) half[a][b] = line[a];
    }
#pragma unroll
    for (int a = 0; a < 4; a++) product_result(half[a], made[a]);
}

static __device__ __forceinline__ float finished(float value, float bias, int relu)
{
    value += bias;
    return relu && value < 0.0f ? 0.0f : value;
}

// A NaN stays one, as in NumPy's maximum.
static __device__ __forceinline__ float larger(float a, float b)
{
    return a >= b || a != a ? a : b;
}

// Results leave the domain with bias and ReLU; with `whole` tiles along a line of NCHW images, rows of
// four as one 16-byte write, where the address allows.
extern "C" __global__ void __launch_bounds__(128) result_out(
    float *__restrict__ out, const float *__restrict__ domain, const float *__restrict__ bias,
    int count, int point, int channels, int first, int tiles, int image_tiles, int tiles_wide,
    int P, int Q, int nchw, int biased, int relu, int whole)
{
    int i = blockIdx.x * 128 + threadIdx.x;
    if (i >= count) return;
    Place at = place_of(i, channels, first, tiles, tiles, image_tiles, tiles_wide, nchw);
    Plane plane = plane_of(at, channels, P, Q, nchw);
    float made[4][4];
    out_of_domain(made, domain, i, point);
    float added = biased ? bias[at.channel] : 0.0f;
    int q0 = at.tw * 4;
    bool aligned = whole && (unsigned long long)out % 16 == 0;
#pragma unroll
    for (int a = 0; a < 4; a++) {
        int p = at.th * 4 + a;
        if (p >= P) continue;
        float *row = out + plane.start + p * plane.across + q0 * plane.along;
        if (aligned) {
            *(float4 *)row = make_float4(
                finished(made[a][0], added, relu), finished(made[a][1], added, relu),
                finished(made[a][2], added, relu), finished(made[a][3], added, relu));
            continue;
        }
#pragma unroll
        for (int b = 0; b < 4; b++)
            if (q0 + b < Q) row[b * plane.along] = finished(made[a][b], added, relu);
    }
}

// The same, but only the maxima of 2x2 squares are written: P x Q of them.
extern "C" __global__ void __launch_bounds__(128) pooled_out(
    float *__restrict__ out, const float *__restrict__ domain, const float *__restrict__ bias,
    int count, int point, int channels, int first, int tiles, int image_tiles, int tiles_wide,
    int P, int Q, int nchw, int biased, int relu, int whole)
{
    int i = blockIdx.x * 128 + threadIdx.x;
    if (i >= count) return;
    Place at = place_of(i, channels, first, tiles, tiles, image_tiles, tiles_wide, nchw);
    Plane plane = plane_of(at, channels, P, Q, nchw);
    float made[4][4];
    out_of_domain(made, domain, i, point);
    float added = biased ? bias[at.channel] : 0.0f;
    int q0 = at.tw * 2;
    bool aligned = whole && (unsigned long long)out % 8 == 0;
#pragma unroll
    for (int a = 0; a < 2; a++) {
        int p = at.th * 2 + a;
        if (p >= P) continue;
        float *row = out + plane.start + p * plane.across + q0 * plane.along;
        float most[2];
#pragma unroll
        for (int b = 0; b < 2; b++) {
            float *upper = made[2 * a] + 2 * b, *lower = made[2 * a + 1] + 2 * b;
            most[b] = larger(larger(upper[0], upper[1]), larger(lower[0], lower[1]));
            most[b] = finished(most[b], added, relu);
        }
        if (aligned) {
            *(float2 *)row = make_float2(most[0], most[1]);
            continue;
        }
#pragma unroll
        for (int b = 0; b < 2; b++)
            if (q0 + b < Q) row[b * plane.along] = most[b];
    }
}

// Filter i of `count`: its taps lie tap_step apart from i * filter_step; `rotated` by 180 degrees.
extern "C" __global__ void __launch_bounds__(128) filter_in(
    float *__restrict__ domain, const float *__restrict__ filters, int count,
    int filter_step, int tap_step, int rotated)
{
    int i = blockIdx.x * 128 + threadIdx.x;
    if (i >= count) return;
    const float *from = filters + i * filter_step;
    float half[6][3];
#pragma unroll
    for (int b = 0; b < 3; b++) {
        float column[3], made[6];
#pragma unroll
        for (int a = 0; a < 3; a++) {
            int tap = a * 3 + b;
            column[a] = from[(rotated ? 8 - tap : tap) * tap_step];
        }
        product_filter(column, made);
#pragma unroll
        for (int a = 0; a < 6; a++) half[a][b] = made[a];
    }
#pragma unroll
    for (int a = 0; a < 6; a++) {
        float made[6];
        product_filter(half[a], made);
#pragma unroll
        for (int b = 0; b < 6; b++) domain[(a * 6 + b) * (long long)count + i] = made[b];
    }
}

// The gradient of filter i: the sum over groups of tiles, in their order, out of the domain.
extern "C" __global__ void __launch_bounds__(128, 4) filter_out(
    float *__restrict__ filters, const float *__restrict__ domain, int count, int groups,
    int filter_step, int tap_step)
{
    int i = blockIdx.x * 128 + threadIdx.x;
    if (i >= count) return;
    float half[3][6];
#pragma unroll
    for (int b = 0; b < 6; b++) {
        float column[6], made[3];
#pragma unroll
        for (int a = 0; a < 6; a++) {
            const float *from = domain + (a * 6 + b) * (long long)count * groups + i;
            float sum = from[0];
#pragma unroll 1
            for (int group = 1; group < groups; group++) sum += from[group * (long long)count];
            column[a] = sum;
        }
        product_taps(column, made);
#pragma unroll
        for (int a = 0; a < 3; a++) half[a][b] = made[a];
    }
    float *to = filters + i * filter_step;
#pragma unroll
    for (int a = 0; a < 3; a++) {
        float made[3];
        product_taps(half[a], made);
#pragma unroll
        for (int b = 0; b < 3; b++) to[(a * 3 + b) * tap_step] = made[b];
    }
}
