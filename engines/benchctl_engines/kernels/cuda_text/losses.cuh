// Softmax cross-entropy and its derivatives: a block takes a row of [N, classes]. Sums are kept in
// double precision. A label outside [0, classes) makes the loss NaN: a GPU cannot raise an error
// without being waited for.
//
// REAL is the type that is stored, WORK the one that is computed with, OUT that of a result.

// probabilities = softmax(logits); parts[n] = -log softmax(logits[n])[label n].
extern "C" __global__ void __launch_bounds__(256, 1) softmax_rows(
    REAL* __restrict__ probabilities, double* __restrict__ parts, const REAL* __restrict__ logits,
    const LABEL* __restrict__ labels, index_t classes) {
    const REAL* x = logits + blockIdx.x * classes;
    REAL* p = probabilities + blockIdx.x * classes;
    WORK largest = Largest<WORK>::none();
    for (index_t k = threadIdx.x; k < classes; k += blockDim.x)
        largest = Largest<WORK>::of(largest, (WORK)x[k]);
    largest = fold_block_for_all<Largest<WORK>>(largest);
    double partition = 0.0;
    for (index_t k = threadIdx.x; k < classes; k += blockDim.x)
        partition += (double)exp((WORK)x[k] - largest);
    partition = fold_block_for_all<Sum>(partition);
    for (index_t k = threadIdx.x; k < classes; k += blockDim.x)
        p[k] = (REAL)((double)exp((WORK)x[k] - largest) / partition);
    if (threadIdx.x == 0) {
        const LABEL label = labels[blockIdx.x];
        const bool valid = label >= 0 && label < classes;
        parts[blockIdx.x] = valid ? log(partition) - (double)((WORK)x[label] - largest)
                                  : (double)__int_as_float(0x7fc00000);
    }
}

// out[0] = sum of parts[N] / N; one block.
extern "C" __global__ void __launch_bounds__(256, 1) mean_of_rows(
    OUT* __restrict__ out, const double* __restrict__ parts, index_t N) {
    double total = 0.0;
    for (index_t n = threadIdx.x; n < N; n += 256) total += parts[n];
    total = fold_block<Sum>(total);
    if (threadIdx.x == 0) out[0] = (OUT)(total / (double)N);
}

// out = (p - onehot(labels)) * g / N, over all n = N * classes elements.
extern "C" __global__ void __launch_bounds__(256, 1) loss_gradient(
    REAL* __restrict__ out, const REAL* __restrict__ probabilities,
    const LABEL* __restrict__ labels, const REAL* __restrict__ g, index_t n, index_t N,
    DIVISOR(classes)) {
    const double factor = (double)g[0] / (double)N;
    const index_t threads = (index_t)gridDim.x * 256;
    for (index_t i = (index_t)blockIdx.x * 256 + threadIdx.x; i < n; i += threads) {
        const index_t row = QUOTIENT(i, classes);
        const double p = (double)probabilities[i];
        out[i] = (REAL)((i - row * classes == labels[row] ? p - 1.0 : p) * factor);
    }
}

// out = g / N * p * (u - sum over classes of u * p).
extern "C" __global__ void __launch_bounds__(256, 1) loss_gradient_input(
    REAL* __restrict__ out, const REAL* __restrict__ u, const REAL* __restrict__ probabilities,
    const REAL* __restrict__ g, index_t N, index_t classes) {
    const index_t start = blockIdx.x * classes;
    const double factor = (double)g[0] / (double)N;
    double mean = 0.0;
    for (index_t k = threadIdx.x; k < classes; k += blockDim.x)
        mean += (double)u[start + k] * (double)probabilities[start + k];
    mean = fold_block_for_all<Sum>(mean);
    for (index_t k = threadIdx.x; k < classes; k += blockDim.x) {
        const double p = (double)probabilities[start + k];
        out[start + k] = (REAL)(factor * p * ((double)u[start + k] - mean));
    }
}

// parts[n] = sum over classes of u * (p - onehot(labels)).
extern "C" __global__ void __launch_bounds__(256, 1) loss_gradient_seed(
    double* __restrict__ parts, const REAL* __restrict__ u,
    const REAL* __restrict__ probabilities, const LABEL* __restrict__ labels, index_t classes) {
    const index_t start = blockIdx.x * classes;
    const LABEL label = labels[blockIdx.x];
    double total = 0.0;
    for (index_t k = threadIdx.x; k < classes; k += blockDim.x) {
        const double p = (double)probabilities[start + k];
        total += (double)u[start + k] * (k == label ? p - 1.0 : p);
    }
    total = fold_block<Sum>(total);
    if (threadIdx.x == 0) parts[blockIdx.x] = total;
}
