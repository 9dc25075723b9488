// Folding many values to one in an order that depends on nothing but their number.
struct Sum {
    typedef double value;  // float32 too is summed in double precision
    static __device__ __forceinline__ double none() { return 0.0; }
    static __device__ __forceinline__ double of(double a, double b) { return a + b; }
};
template <class T> struct Largest {
    typedef T value;
    static __device__ __forceinline__ T none() { return (T)__int_as_float((int)0xff800000u); }
    // A NaN stays, the first of them.
    static __device__ __forceinline__ T of(T a, T b) { return b > a || (b != b && a == a) ? b : a; }
};

static const unsigned WHOLE_WARP = 0xffffffffu;

template <class F>
static __device__ __forceinline__ typename F::value fold_warp(typename F::value value, int lanes) {
    for (int distance = lanes / 2; distance > 0; distance /= 2)
        value = F::of(value, __shfl_down_sync(WHOLE_WARP, value, distance));
    return value;
}

// The fold of one value of each thread, in thread 0. The block has whole warps.
template <class F>
static __device__ __forceinline__ typename F::value fold_block(typename F::value value) {
    __shared__ typename F::value parts[32];
    const int warp = threadIdx.x / 32;
    value = fold_warp<F>(value, 32);
    __syncthreads();  // of the call before, parts may still be read
    if (threadIdx.x % 32 == 0) parts[warp] = value;
    __syncthreads();
    if (warp == 0) {
        value = threadIdx.x < blockDim.x / 32 ? parts[threadIdx.x] : F::none();
        value = fold_warp<F>(value, 32);
    }
    return value;
}

// The same, in every thread.
template <class F>
static __device__ __forceinline__ typename F::value fold_block_for_all(typename F::value value) {
    __shared__ typename F::value whole;
    value = fold_block<F>(value);
    if (threadIdx.x == 0) whole = value;
    __syncthreads();
    return whole;
}
