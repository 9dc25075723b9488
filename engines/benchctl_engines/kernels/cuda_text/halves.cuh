// Floats of 16 bits, stored as such and computed with as float: both turn into a float by themselves,
// and a float is rounded, ties to even, where one of them is made of it.
#ifdef __CUDA_ARCH__
static __device__ __forceinline__ unsigned short half_bits(float x) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}
static __device__ __forceinline__ float half_value(unsigned short bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}
#endif
// Elsewhere whoever builds the text brings these two.

// bfloat16 is the upper half of a float; instructions for it came with compute capability 8.0.
static __device__ __forceinline__ unsigned short bfloat_bits(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    unsigned short bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
#else
    const unsigned word = __float_as_uint(x);
    if (x != x) return (unsigned short)(word >> 16 | 0x40u);
    return (unsigned short)((word + 0x7fffu + (word >> 16 & 1u)) >> 16);
#endif
}

struct half_t {
    unsigned short bits;
    half_t() = default;
    __device__ __forceinline__ half_t(float x) : bits(half_bits(x)) {}
    __device__ __forceinline__ operator float() const { return half_value(bits); }
};

struct bfloat_t {
    unsigned short bits;
    bfloat_t() = default;
    __device__ __forceinline__ bfloat_t(float x) : bits(bfloat_bits(x)) {}
    __device__ __forceinline__ operator float() const {
        return __uint_as_float((unsigned)bits << 16);
    }
};
