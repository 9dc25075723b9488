// What kernel text needs of CUDA's vocabulary, on a CPU: qualifiers, functions and vector types.
//
// No standard header is included: NVRTC has none either, and a library builds in a tenth of a second.
#pragma once

typedef unsigned long emu_size;

extern "C" {
void *memset(void *, int, emu_size) noexcept;
float fmaf(float, float, float) noexcept;
float expf(float) noexcept;
float exp2f(float) noexcept;
float expm1f(float) noexcept;
float logf(float) noexcept;
float log2f(float) noexcept;
float log1pf(float) noexcept;
float sqrtf(float) noexcept;
float tanhf(float) noexcept;
float sinf(float) noexcept;
float cosf(float) noexcept;
float powf(float, float) noexcept;
float floorf(float) noexcept;
float ceilf(float) noexcept;
float rintf(float) noexcept;
float fabsf(float) noexcept;
float fmaxf(float, float) noexcept;
float fminf(float, float) noexcept;
float copysignf(float, float) noexcept;
float erff(float) noexcept;
double fma(double, double, double) noexcept;
double exp(double) noexcept;
double exp2(double) noexcept;
double expm1(double) noexcept;
double log(double) noexcept;
double log2(double) noexcept;
double log1p(double) noexcept;
double sqrt(double) noexcept;
double tanh(double) noexcept;
double sin(double) noexcept;
double cos(double) noexcept;
double pow(double, double) noexcept;
double floor(double) noexcept;
double ceil(double) noexcept;
double rint(double) noexcept;
double fabs(double) noexcept;
double fmax(double, double) noexcept;
double fmin(double, double) noexcept;
double copysign(double, double) noexcept;
double erf(double) noexcept;
}

// CUDA has these for float as well.
#define EMU_FLOAT_TOO(name) \
    inline float name(float x) { return name##f(x); }
EMU_FLOAT_TOO(exp)
EMU_FLOAT_TOO(log)
EMU_FLOAT_TOO(sqrt)
EMU_FLOAT_TOO(tanh)
EMU_FLOAT_TOO(sin)
EMU_FLOAT_TOO(cos)
EMU_FLOAT_TOO(floor)
EMU_FLOAT_TOO(ceil)
EMU_FLOAT_TOO(fabs)
EMU_FLOAT_TOO(erf)
#undef EMU_FLOAT_TOO
inline float fmax(float a, float b) { return fmaxf(a, b); }
inline float fmin(float a, float b) { return fminf(a, b); }
inline float fma(float a, float b, float c) { return fmaf(a, b, c); }
inline float pow(float a, float b) { return powf(a, b); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }

#define EMU_EXTREMES(type) \
    inline type max(type a, type b) { return a > b ? a : b; } \
    inline type min(type a, type b) { return a < b ? a : b; }
EMU_EXTREMES(int)
EMU_EXTREMES(unsigned)
EMU_EXTREMES(long)
EMU_EXTREMES(unsigned long)
EMU_EXTREMES(long long)
EMU_EXTREMES(unsigned long long)
#undef EMU_EXTREMES
inline float max(float a, float b) { return fmaxf(a, b); }
inline float min(float a, float b) { return fminf(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline double min(double a, double b) { return fmin(a, b); }

inline unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)(((unsigned long)a * b) >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
template <class To, class From> inline To emu_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "");
    To to;
    __builtin_memcpy(&to, &from, sizeof(To));
    return to;
}
// What kernels' text has instructions for on a GPU: binary16, rounded to the nearest, ties to even.
inline unsigned short half_bits(float x) {
    const unsigned word = emu_bits<unsigned>(x), sign = word >> 16 & 0x8000u;
    const unsigned rest = word & 0x7fffffffu;
    if (rest > 0x7f800000u) return (unsigned short)(sign | 0x7e00u);
    // From 65520 on the nearest is infinite.
    if (rest >= 0x477ff000u) return (unsigned short)(sign | 0x7c00u);
    if (rest < 0x38800000u) {
        // Below 2^-14 halves are multiples of 2^-24, as floats from 1/2 to 1 are.
        const float raised = emu_bits<float>(rest) + 0.5f;
        return (unsigned short)(sign | (emu_bits<unsigned>(raised) - 0x3f000000u));
    }
    const unsigned rounded = rest + 0xfffu + (rest >> 13 & 1u);
    return (unsigned short)(sign | (rounded - 0x38000000u) >> 13);
}
inline float half_value(unsigned short bits) {
    const unsigned sign = (bits & 0x8000u) << 16, rest = bits & 0x7fffu;
    if (rest >= 0x7c00u) return emu_bits<float>(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
    if (rest >= 0x400u) return emu_bits<float>(sign | ((rest << 13) + 0x38000000u));
    const float small = rest * (1.0f / 16777216.0f);
    return emu_bits<float>(sign | emu_bits<unsigned>(small));
}
inline float __int_as_float(int x) { return emu_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return emu_bits<float>(x); }
inline int __float_as_int(float x) { return emu_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return emu_bits<unsigned>(x); }
inline double __longlong_as_double(long long x) { return emu_bits<double>(x); }
inline long long __double_as_longlong(double x) { return emu_bits<long long>(x); }
template <class T> inline T __ldg(const T *p) { return *p; }

#define EMU_VECTORS(name, type) \
    struct alignas(2 * sizeof(type)) name##2 { type x, y; }; \
    struct alignas(4 * sizeof(type) > 16 ? 16 : 4 * sizeof(type)) name##4 { type x, y, z, w; }; \
    inline name##2 make_##name##2(type x, type y) { return {x, y}; } \
    inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
EMU_VECTORS(float, float)
EMU_VECTORS(double, double)
EMU_VECTORS(int, int)
EMU_VECTORS(uint, unsigned)
EMU_VECTORS(char, signed char)
EMU_VECTORS(uchar, unsigned char)
EMU_VECTORS(longlong, long long)
EMU_VECTORS(ulonglong, unsigned long long)
#undef EMU_VECTORS

// Qualifiers -----------------------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __restrict__ __restrict
#if defined(EMU_SANITIZED)
// AddressSanitizer guards variables in the common sections alone.
#define __shared__ static
#else
// One section, so that all of it can be spoiled before each block.
#define __shared__ static __attribute__((section("emu_shared")))
#endif
