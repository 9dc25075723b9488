// Positions, and their division by sizes that are known when a kernel is prepared: a product and a
// shift (T. Granlund, P. L. Montgomery, "Division by invariant integers using multiplication",
// PLDI 1994). WIDE is for operands of 2^30 elements and more.
#ifdef WIDE
typedef long long index_t;
#define DIVISOR(d) long long d, long long d##_factor, long long d##_shift
#define QUOTIENT(i, d) ((i) / (d))
#else
typedef int index_t;
#define DIVISOR(d) int d, int d##_factor, int d##_shift
#define QUOTIENT(i, d) quotient(i, d##_factor, d##_shift)
static __device__ __forceinline__ int quotient(int i, int factor, int shift) {
    return (int)((__umulhi((unsigned)i, (unsigned)factor) + (unsigned)i) >> shift);
}
#endif
