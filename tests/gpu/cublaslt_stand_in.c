// The part of cuBLASLt that benchctl calls, on the CPU and one number at a time.
//
// With HAVE_HEADER it is compiled against NVIDIA's own header, which then checks every prototype.
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_HEADER
#include <cublasLt.h>
// The numbers that benchctl writes down.
_Static_assert(CUBLASLT_MATMUL_DESC_TRANSA == 3 && CUBLASLT_MATMUL_DESC_TRANSB == 4, "");
_Static_assert(CUBLASLT_MATMUL_DESC_EPILOGUE == 7 && CUBLASLT_MATMUL_DESC_BIAS_POINTER == 8, "");
_Static_assert(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT == 5, "");
_Static_assert(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET == 6, "");
_Static_assert(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES == 1, "");
_Static_assert(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES == 5, "");
_Static_assert(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES == 8, "");
_Static_assert(CUBLASLT_EPILOGUE_DEFAULT == 1 && CUBLASLT_EPILOGUE_RELU == 2, "");
_Static_assert(CUBLASLT_EPILOGUE_BIAS == 4 && CUBLASLT_EPILOGUE_RELU_BIAS == 6, "");
_Static_assert(CUBLAS_COMPUTE_32F == 68 && CUBLAS_COMPUTE_32F_FAST_TF32 == 77, "");
_Static_assert(CUBLAS_COMPUTE_64F == 70 && CUDA_R_32F == 0 && CUDA_R_64F == 1, "");
_Static_assert(CUDA_R_16F == 2 && CUDA_R_16BF == 14, "");
_Static_assert(sizeof(cublasLtMatmulHeuristicResult_t) == 96, "");
#else
typedef int cublasStatus_t, cublasComputeType_t, cudaDataType_t;
typedef int cublasLtMatmulDescAttributes_t, cublasLtMatrixLayoutAttribute_t;
typedef int cublasLtMatmulPreferenceAttributes_t;
typedef void *cublasLtHandle_t, *cublasLtMatmulDesc_t, *cublasLtMatrixLayout_t;
typedef void *cublasLtMatmulPreference_t, *cudaStream_t;
typedef struct {
    uint64_t data[8];
} cublasLtMatmulAlgo_t;
typedef struct {
    cublasLtMatmulAlgo_t algo;
    size_t workspaceSize;
    cublasStatus_t state;
    float wavesCount;
    int reserved[4];
} cublasLtMatmulHeuristicResult_t;
#define CUBLASWINAPI
#endif

enum { SUCCESS = 0, INVALID_VALUE = 7, NOT_SUPPORTED = 15, MAGIC = 0x10c41 };
enum { WORKSPACE_BYTES = 4096, GUESSES = 3 };
enum { R_32F = 0, R_64F = 1, R_16F = 2, R_16BF = 14, COMPUTE_32F = 68 };

struct desc {
    int compute, scale, transposed[2];
    uint32_t epilogue;
    const void *bias;
};
struct layout {
    int type;
    uint64_t rows, columns;
    int64_t leading, stride;
    int32_t batch;
};
struct preference {
    uint64_t workspace;
    uint32_t alignment[4];
};

size_t CUBLASWINAPI cublasLtGetVersion(void) { return 130000; }

cublasStatus_t CUBLASWINAPI cublasLtCreate(cublasLtHandle_t *handle) {
    *handle = (cublasLtHandle_t)(intptr_t)MAGIC;
    return SUCCESS;
}

static int made(void *slot, size_t size) {
    void *block = calloc(1, size);
    memcpy(slot, &block, sizeof block);
    return SUCCESS;
}
static int taken(void *target, size_t size, const void *value, size_t given) {
    if (given != size) return INVALID_VALUE;
    memcpy(target, value, size);
    return SUCCESS;
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulDescCreate(
    cublasLtMatmulDesc_t *desc, cublasComputeType_t compute, cudaDataType_t scale) {
    made(desc, sizeof(struct desc));
    struct desc *d = (struct desc *)*desc;
    d->compute = compute;
    d->scale = scale;
    d->epilogue = 1;
    return SUCCESS;
}
cublasStatus_t CUBLASWINAPI cublasLtMatmulDescDestroy(const cublasLtMatmulDesc_t desc) {
    free((void *)desc);
    return SUCCESS;
}
cublasStatus_t CUBLASWINAPI cublasLtMatmulDescSetAttribute(
    cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attr, const void *buf, size_t size) {
    struct desc *d = (struct desc *)desc;
    switch ((int)attr) {
        case 3: return taken(&d->transposed[0], 4, buf, size);
        case 4: return taken(&d->transposed[1], 4, buf, size);
        case 7: return taken(&d->epilogue, 4, buf, size);
        case 8: return taken(&d->bias, 8, buf, size);
    }
    return INVALID_VALUE;
}
cublasStatus_t CUBLASWINAPI cublasLtMatrixLayoutCreate(
    cublasLtMatrixLayout_t *layout, cudaDataType_t type, uint64_t rows, uint64_t columns,
    int64_t leading) {
    if (leading < (int64_t)rows) return INVALID_VALUE;
    made(layout, sizeof(struct layout));
    struct layout *l = (struct layout *)*layout;
    l->type = type;
    l->rows = rows;
    l->columns = columns;
    l->leading = leading;
    l->batch = 1;
    return SUCCESS;
}
cublasStatus_t CUBLASWINAPI cublasLtMatrixLayoutDestroy(const cublasLtMatrixLayout_t layout) {
    free((void *)layout);
    return SUCCESS;
}
cublasStatus_t CUBLASWINAPI cublasLtMatrixLayoutSetAttribute(
    cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t attr, const void *buf,
    size_t size) {
    struct layout *l = (struct layout *)layout;
    switch ((int)attr) {
        case 5: return taken(&l->batch, 4, buf, size);
        case 6: return taken(&l->stride, 8, buf, size);
    }
    return INVALID_VALUE;
}
cublasStatus_t CUBLASWINAPI cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *pref) {
    return made(pref, sizeof(struct preference));
}
cublasStatus_t CUBLASWINAPI cublasLtMatmulPreferenceDestroy(const cublasLtMatmulPreference_t pref) {
    free((void *)pref);
    return SUCCESS;
}
cublasStatus_t CUBLASWINAPI cublasLtMatmulPreferenceSetAttribute(
    cublasLtMatmulPreference_t pref, cublasLtMatmulPreferenceAttributes_t attr, const void *buf,
    size_t size) {
    struct preference *p = (struct preference *)pref;
    if (attr == 1) return taken(&p->workspace, 8, buf, size);
    if (attr >= 5 && attr <= 8) return taken(&p->alignment[attr - 5], 4, buf, size);
    return INVALID_VALUE;
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulAlgoGetHeuristic(
    cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
    cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
    cublasLtMatmulPreference_t pref, int asked, cublasLtMatmulHeuristicResult_t results[],
    int *found) {
    struct desc *operation = (struct desc *)desc;
    struct preference *wish = (struct preference *)pref;
    *found = 0;
    if ((intptr_t)handle != MAGIC || asked < 1 || !a || !b || !c || c != d) return INVALID_VALUE;
    if (wish->workspace < WORKSPACE_BYTES || wish->alignment[3] != 16) return INVALID_VALUE;
    if (operation->epilogue & 4 && !operation->bias) return INVALID_VALUE;
    // As the real one may: nothing follows a product in double precision.
    if (operation->scale == 1 && operation->epilogue != 1) return NOT_SUPPORTED;
    // Halves are summed in float32, and so are their factors.
    int type = ((struct layout *)a)->type;
    int half = type == R_16F || type == R_16BF;
    if (half && (operation->scale != R_32F || operation->compute != COMPUTE_32F))
        return NOT_SUPPORTED;
    *found = asked < GUESSES ? asked : GUESSES;
    memset(results, 0, asked * sizeof *results);
    for (int i = 0; i < *found; i++) {
        results[i].algo.data[0] = results[i].algo.data[7] = MAGIC;
        results[i].algo.data[1] = i;
        results[i].workspaceSize = WORKSPACE_BYTES;
    }
    return SUCCESS;
}

static double number(int type, const void *p, int64_t place) {
    if (type == R_64F) return ((const double *)p)[place];
    if (type == R_32F) return ((const float *)p)[place];
    uint16_t bits = ((const uint16_t *)p)[place];
    if (type == R_16BF) {
        uint32_t word = (uint32_t)bits << 16;
        float value;
        memcpy(&value, &word, 4);
        return value;
    }
    int exponent = bits >> 10 & 31, digits = bits & 1023;
    double size = exponent ? ldexp(1024 + digits, exponent - 25) : ldexp(digits, -24);
    return bits & 0x8000 ? -size : size;
}

// Halves are given numbers that they hold exactly: rounding is the real library's.
static void put(int type, void *p, int64_t place, double value) {
    if (type == R_64F) {
        ((double *)p)[place] = value;
    } else if (type == R_32F) {
        ((float *)p)[place] = (float)value;
    } else if (type == R_16BF) {
        float exact = (float)value;
        uint32_t word;
        memcpy(&word, &exact, 4);
        ((uint16_t *)p)[place] = (uint16_t)(word >> 16);
    } else {
        int exponent, digits = (int)(frexp(fabs(value), &exponent) * 2048);
        int bits = value == 0 ? 0 : (exponent + 14) << 10 | (digits - 1024);
        ((uint16_t *)p)[place] = (uint16_t)(bits | (value < 0 ? 0x8000 : 0));
    }
}

static double at(const struct layout *l, const void *p, int batch, uint64_t row, uint64_t column) {
    int64_t place = batch * l->stride + (int64_t)column * l->leading + (int64_t)row;
    return number(l->type, p, place);
}

cublasStatus_t CUBLASWINAPI cublasLtMatmul(
    cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha, const void *A,
    cublasLtMatrixLayout_t a, const void *B, cublasLtMatrixLayout_t b, const void *beta,
    const void *C, cublasLtMatrixLayout_t c, void *D, cublasLtMatrixLayout_t d,
    const cublasLtMatmulAlgo_t *algo, void *workspace, size_t workspace_bytes,
    cudaStream_t stream) {
    const struct desc *operation = (const struct desc *)desc;
    const struct layout *left = (const struct layout *)a, *right = (const struct layout *)b;
    const struct layout *add = (const struct layout *)c, *out = (const struct layout *)d;
    if ((intptr_t)handle != MAGIC || algo->data[0] != MAGIC || algo->data[7] != MAGIC)
        return INVALID_VALUE;
    if (workspace_bytes != WORKSPACE_BYTES || (intptr_t)stream != 0x5000) return INVALID_VALUE;
    memset(workspace, 0xff, workspace_bytes);
    const int *t = operation->transposed;
    uint64_t depth = t[0] ? left->rows : left->columns;
    if (depth != (t[1] ? right->columns : right->rows)) return INVALID_VALUE;
    if (out->rows != (t[0] ? left->columns : left->rows)) return INVALID_VALUE;
    if (out->columns != (t[1] ? right->rows : right->columns)) return INVALID_VALUE;
    const double scale = operation->scale ? *(const double *)alpha : *(const float *)alpha;
    const double keep = operation->scale ? *(const double *)beta : *(const float *)beta;
    for (int z = 0; z < out->batch; z++)
        for (uint64_t j = 0; j < out->columns; j++)
            for (uint64_t i = 0; i < out->rows; i++) {
                double sum = 0;
                for (uint64_t k = 0; k < depth; k++)
                    sum += (t[0] ? at(left, A, z, k, i) : at(left, A, z, i, k)) *
                           (t[1] ? at(right, B, z, j, k) : at(right, B, z, k, j));
                sum *= scale;
                if (keep != 0) sum += keep * at(add, C, z, i, j);
                if (operation->epilogue & 4) sum += number(out->type, operation->bias, i);
                if (operation->epilogue & 2 && sum < 0) sum = 0;
                int64_t place = z * out->stride + (int64_t)j * out->leading + (int64_t)i;
                put(out->type, D, place, sum);
            }
    return SUCCESS;
}
