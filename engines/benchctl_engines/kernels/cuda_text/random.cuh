// Philox4x32-10 (J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as
// easy as 1, 2, 3", SC 2011): words from a counter of block and step and a key of seed and site.
struct Words {
    unsigned w0, w1, w2, w3;
};

static __device__ __forceinline__ Words philox(
    unsigned long long block, unsigned long long step, unsigned k0, unsigned k1) {
    unsigned c0 = (unsigned)block, c1 = (unsigned)(block >> 32);
    unsigned c2 = (unsigned)step, c3 = (unsigned)(step >> 32);
#pragma unroll
    for (int turn = 0; turn < 10; turn++) {
        const unsigned high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        const unsigned high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0;
        c2 = high0 ^ c3 ^ k1;
        c1 = low1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {c0, c1, c2, c3};
}

// In [0, 1): a word's upper 24 bits, or 53 bits of two words.
static __device__ __forceinline__ double unit24(unsigned word) {
    return (double)(word >> 8) * (1.0 / 16777216.0);
}
static __device__ __forceinline__ double unit53(unsigned high, unsigned low) {
    return ((double)(high >> 5) * 67108864.0 + (double)(low >> 6)) * (1.0 / 9007199254740992.0);
}

// Two standard normals by Box and Muller; u + ulp lies in (0, 1].
static __device__ __forceinline__ void make_normal(double& u, double& v, double ulp) {
    const double radius = sqrt(-2.0 * log(u + ulp));
    const double angle = 6.283185307179586 * v;
    u = radius * cos(angle);
    v = radius * sin(angle);
}

template <bool normal>
static __device__ __forceinline__ Pack<float, 4> numbers(const Words w, float*) {
    double z0 = unit24(w.w0), z1 = unit24(w.w1), z2 = unit24(w.w2), z3 = unit24(w.w3);
    if (normal) {
        make_normal(z0, z1, 1.0 / 16777216.0);
        make_normal(z2, z3, 1.0 / 16777216.0);
    }
    return {{(float)z0, (float)z1, (float)z2, (float)z3}};
}

template <bool normal>
static __device__ __forceinline__ Pack<double, 2> numbers(const Words w, double*) {
    double z0 = unit53(w.w0, w.w1), z1 = unit53(w.w2, w.w3);
    if (normal) make_normal(z0, z1, 1.0 / 9007199254740992.0);
    return {{z0, z1}};
}

template <bool normal>
static __device__ __forceinline__ void draw(
    REAL* __restrict__ out, const long long* __restrict__ step, int k0, int k1, index_t n) {
    constexpr int V = 16 / sizeof(REAL);
    const unsigned long long turn = (unsigned long long)step[0];
    const bool aligned = address(out) % 16 == 0;
    const index_t blocks = (n + V - 1) / V;
    const index_t threads = (index_t)gridDim.x * 256;
    for (index_t b = (index_t)blockIdx.x * 256 + threadIdx.x; b < blocks; b += threads) {
        const Words words = philox((unsigned long long)b, turn, (unsigned)k0, (unsigned)k1);
        const Pack<REAL, V> values = numbers<normal>(words, (REAL*)nullptr);
        if (aligned && (b + 1) * V <= n) {
            store<V>(out + b * V, values);
        } else {
#pragma unroll
            for (int k = 0; k < V; k++)
                if (b * V + k < n) out[b * V + k] = values.at[k];
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 1) draw_uniform(
    REAL* __restrict__ out, const long long* __restrict__ step, int k0, int k1, index_t n) {
    draw<false>(out, step, k0, k1, n);
}

extern "C" __global__ void __launch_bounds__(256, 1) draw_normal(
    REAL* __restrict__ out, const long long* __restrict__ step, int k0, int k1, index_t n) {
    draw<true>(out, step, k0, k1, n);
}
