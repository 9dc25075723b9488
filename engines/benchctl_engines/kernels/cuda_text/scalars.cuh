// Scalar operations as the CPU has them, so that results agree to the last bit: a product is
// rounded before anything is added to it, integers wrap around, and truth values add by "or".
#ifdef __CUDA_ARCH__
#define ROUNDED(function, a, operation, b) function(a, b)
#else
#define ROUNDED(function, a, operation, b) ((a)operation(b))
#endif

#define SCALAR static __device__ __forceinline__

SCALAR float add(float a, float b) { return ROUNDED(__fadd_rn, a, +, b); }
SCALAR float subtract(float a, float b) { return ROUNDED(__fsub_rn, a, -, b); }
SCALAR float multiply(float a, float b) { return ROUNDED(__fmul_rn, a, *, b); }
SCALAR double add(double a, double b) { return ROUNDED(__dadd_rn, a, +, b); }
SCALAR double subtract(double a, double b) { return ROUNDED(__dsub_rn, a, -, b); }
SCALAR double multiply(double a, double b) { return ROUNDED(__dmul_rn, a, *, b); }

SCALAR bool add(bool a, bool b) { return a | b; }
SCALAR bool multiply(bool a, bool b) { return a & b; }

#define INTEGER(T, U)                                                          \
    SCALAR T add(T a, T b) { return (T)((U)a + (U)b); }                        \
    SCALAR T subtract(T a, T b) { return (T)((U)a - (U)b); }                   \
    SCALAR T multiply(T a, T b) { return (T)((U)a * (U)b); }
INTEGER(unsigned char, unsigned)
INTEGER(int, unsigned)
INTEGER(long long, unsigned long long)

// N neighbouring elements, moved by one instruction where they lie at a multiple of their size.
template <class T, int N> struct alignas(sizeof(T) * N) Pack {
    T at[N];
};
SCALAR unsigned long long address(const void* pointer) {
    return reinterpret_cast<unsigned long long>(pointer);
}
template <int N, class T> SCALAR Pack<T, N> load(const T* from) {
    return *reinterpret_cast<const Pack<T, N>*>(from);
}
template <int N, class T> SCALAR void store(T* to, Pack<T, N> values) {
    *reinterpret_cast<Pack<T, N>*>(to) = values;
}
