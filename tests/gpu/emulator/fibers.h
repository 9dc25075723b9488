// The threads of a grid, played by one thread of the machine.
//
// Blocks run one after another. The threads of a block are fibers, and a fiber whose thread returns
// goes on with the next of its warp that has not begun: a kernel without barriers is a plain loop.
// A warp runs as far as it can, up to a barrier of the block, before any other: one that a missing
// barrier would let run ahead does. Threads and blocks run in rising or falling order, and the order
// of the warps may be drawn anew at every turn: a kernel that lacks a barrier is wrong in one of them.
#pragma once
#include "shim.h"

struct uint3 {
    unsigned x, y, z;
};
static uint3 threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;

// Contexts -------------------------------------------------------------------------------------

// Not a power of two: the tops of all stacks would fall into the same lines of a cache.
static const emu_size EMU_STACK_BYTES = 65536 + 1088;
static const unsigned long EMU_STACK_MARK = 0x5a17c0de5a17c0deul;

#if defined(__x86_64__) && !defined(EMU_PORTABLE)
struct EmuContext {
    void *stack_pointer;
};
extern "C" void emu_swap(void **from, void *to) __attribute__((visibility("hidden")));
asm(".text\n"
    "emu_swap:\n"
    "pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
    "movq %rsp, (%rdi)\n"
    "movq %rsi, %rsp\n"
    "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n"
    "ret\n");
static void emu_switch(EmuContext &from, EmuContext &to) {
    emu_swap(&from.stack_pointer, to.stack_pointer);
}
static void emu_prepare(EmuContext &made, char *bottom, void (*entry)()) {
    // As emu_swap leaves a stack: six registers and a return address. The null above stands where
    // the entry would find its own return address, 8 below a multiple of 16.
    void **top = (void **)(((emu_size)bottom + EMU_STACK_BYTES) & ~63ul);
    *--top = nullptr;
    *--top = (void *)entry;
    for (int i = 0; i < 6; i++) *--top = nullptr;
    made.stack_pointer = top;
}
#else
#include <ucontext.h>
struct EmuContext {
    ucontext_t machine;
};
static void emu_switch(EmuContext &from, EmuContext &to) {
    swapcontext(&from.machine, &to.machine);
}
static void emu_prepare(EmuContext &made, char *bottom, void (*entry)()) {
    getcontext(&made.machine);
    made.machine.uc_stack.ss_sp = bottom + 64;
    made.machine.uc_stack.ss_size = EMU_STACK_BYTES - 64;
    made.machine.uc_link = nullptr;
    makecontext(&made.machine, entry, 0);
}
#endif

// A block --------------------------------------------------------------------------------------

static const int EMU_THREADS = 1024;
enum EmuState : unsigned char { EMU_NEW, EMU_READY, EMU_WAITS_FOR_BLOCK, EMU_WAITS_FOR_WARP, EMU_DONE };

static struct {
    const char *fault, *fault_file;
    int fault_line;
    void *landing[5];

    EmuContext scheduler, fibers[EMU_THREADS];
    int fibers_made, idle[EMU_THREADS], idle_count, starting;
    char *stacks;

    void (*body)(const char *);
    const char *arguments;

    int threads, step, current, next, done;
    unsigned long drawn;  // the state of the generator that orders warps, 0 where none does
    EmuState state[EMU_THREADS];
    int fiber_of[EMU_THREADS];
    int at_block, block_line;
    int at_warp[EMU_THREADS / 32], warp_line[EMU_THREADS / 32], warp_done[EMU_THREADS / 32];
    unsigned char parity[EMU_THREADS];
    unsigned long slots[2][EMU_THREADS];
} emu;

[[noreturn]] static void emu_fail(const char *fault, const char *file, int line) {
    emu.fault = fault;
    emu.fault_file = file;
    emu.fault_line = line;
    __builtin_longjmp(emu.landing, 1);
}

static void emu_place(int thread) {
    emu.current = thread;
    threadIdx.x = thread % blockDim.x;
    threadIdx.y = thread / blockDim.x % blockDim.y;
    threadIdx.z = thread / (blockDim.x * blockDim.y);
}

static void emu_wait(EmuState reason) {
    int thread = emu.current;
    emu.state[thread] = reason;
    emu_switch(emu.fibers[emu.fiber_of[thread]], emu.scheduler);
}

static void emu_release(int from, int to, EmuState waiting) {
    for (int t = from; t < to; t++)
        if (emu.state[t] == waiting) emu.state[t] = EMU_READY;
}

static void emu_release_block() {
    emu.at_block = 0;
    emu_release(0, emu.threads, EMU_WAITS_FOR_BLOCK);
}

static void emu_finish() {
    int thread = emu.current, warp = thread / 32;
    emu.state[thread] = EMU_DONE;
    emu.done++;
    emu.warp_done[warp]++;
    if (emu.at_warp[warp])
        emu_fail("a thread returned while its warp waits for it", "kernel.cu", emu.warp_line[warp]);
    // At a barrier of the block a thread that has returned counts as arrived.
    if (emu.at_block && emu.at_block + emu.done == emu.threads) emu_release_block();
}

static void emu_fiber() {
    const int self = emu.starting;
    for (;;) {
        emu.body(emu.arguments);
        emu_finish();
        int thread = emu.next;
        // In a drawn order the thread after the last of this warp may have run long ago.
        if (thread >= 0 && thread < emu.threads && thread / 32 == emu.current / 32 &&
            emu.state[thread] == EMU_NEW) {
            emu.next += emu.step;
            emu.fiber_of[thread] = self;
            emu_place(thread);
            continue;
        }
        emu.idle[emu.idle_count++] = self;
        emu_switch(emu.fibers[self], emu.scheduler);
    }
}

static int emu_new_fiber() {
    int made = emu.fibers_made++;
    char *bottom = emu.stacks + made * EMU_STACK_BYTES;
    *(unsigned long *)(((emu_size)bottom + 7) & ~7ul) = EMU_STACK_MARK;
    emu_prepare(emu.fibers[made], bottom, emu_fiber);
    emu.starting = made;
    return made;
}

// Run the threads of a warp until each waits for others; whether any ran.
static bool emu_run_warp(int warp) {
    const int low = warp * 32, lanes = min(32, emu.threads - low);
    bool moved = false;
    for (bool again = true; again;) {
        again = false;
        for (int i = 0, t = emu.step > 0 ? low : low + lanes - 1; i < lanes; i++, t += emu.step) {
            if (emu.state[t] == EMU_NEW) {
                emu.fiber_of[t] = emu.idle_count ? emu.idle[--emu.idle_count] : emu_new_fiber();
                emu.next = t + emu.step;
            } else if (emu.state[t] != EMU_READY) {
                continue;
            }
            emu_place(t);
            again = moved = true;
            emu_switch(emu.scheduler, emu.fibers[emu.fiber_of[t]]);
        }
    }
    return moved;
}

// The order in which the warps have their next turn.
static void emu_order_warps(int *order, int warps) {
    for (int i = 0; i < warps; i++) order[i] = emu.step > 0 ? i : warps - 1 - i;
    for (int i = warps - 1; emu.drawn && i > 0; i--) {
        // Knuth's generator of 64 bits; the upper ones are the good ones.
        emu.drawn = emu.drawn * 6364136223846793005ul + 1442695040888963407ul;
        const int j = (int)((emu.drawn >> 33) % (unsigned)(i + 1)), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

static void emu_run_block() {
    const int threads = emu.threads, warps = (threads + 31) / 32;
    memset(emu.state, EMU_NEW, threads);
    memset(emu.at_warp, 0, sizeof emu.at_warp);
    memset(emu.warp_done, 0, sizeof emu.warp_done);
    memset(emu.parity, 0, threads);
    emu.at_block = emu.done = 0;
    int order[EMU_THREADS / 32];
    while (emu.done < threads) {
        bool moved = false;
        emu_order_warps(order, warps);
        for (int i = 0; i < warps; i++) moved |= emu_run_warp(order[i]);
        if (!moved)
            emu_fail("threads wait for each other for ever: a barrier that not all of them reach",
                     "kernel.cu", emu.at_block ? emu.block_line : 0);
    }
}

static void emu_check_stacks() {
    for (int i = 0; i < emu.fibers_made; i++) {
        emu_size bottom = (emu_size)(emu.stacks + i * EMU_STACK_BYTES);
        if (*(unsigned long *)((bottom + 7) & ~7ul) != EMU_STACK_MARK)
            emu_fail("a thread needs more than 64 KiB of stack", "kernel.cu", 0);
    }
}

#if !defined(EMU_SANITIZED)
extern "C" char __start_emu_shared[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_emu_shared[] __attribute__((weak, visibility("hidden")));
#endif

static void emu_spoil_shared() {
#if !defined(EMU_SANITIZED)
    // All ones are NaN, so a sum over what was never written shows.
    if (__start_emu_shared)
        memset(__start_emu_shared, 0xff, (emu_size)(__stop_emu_shared - __start_emu_shared));
#endif
}

static void emu_run_grid() {
    const unsigned blocks = gridDim.x * gridDim.y * gridDim.z;
    for (unsigned i = 0; i < blocks; i++) {
        unsigned block = emu.step > 0 ? i : blocks - 1 - i;
        blockIdx.x = block % gridDim.x;
        blockIdx.y = block / gridDim.x % gridDim.y;
        blockIdx.z = block / (gridDim.x * gridDim.y);
        emu_spoil_shared();
        emu_run_block();
    }
    emu_check_stacks();
}

// Returns 0, or 1 where the grid came to grief: then emu_fault and emu_fault_line say how.
static int emu_launch(void (*body)(const char *), const unsigned *sizes, const char *arguments,
                      char *stacks, int reverse, unsigned long seed) {
    if (__builtin_setjmp(emu.landing)) return 1;
    gridDim = {sizes[0], sizes[1], sizes[2]};
    blockDim = {sizes[3], sizes[4], sizes[5]};
    emu.threads = sizes[3] * sizes[4] * sizes[5];
    emu.step = reverse ? -1 : 1;
    emu.drawn = seed;
    emu.fibers_made = emu.idle_count = 0;
    emu.stacks = stacks;
    emu.body = body;
    emu.arguments = arguments;
    emu_run_grid();
    return 0;
}

#define EMU_EXPORT extern "C" __attribute__((visibility("default")))
EMU_EXPORT const char *emu_fault() { return emu.fault; }
EMU_EXPORT const char *emu_fault_file() { return emu.fault_file; }
EMU_EXPORT int emu_fault_line() { return emu.fault_line; }

// Barriers and shuffles ------------------------------------------------------------------------

static void emu_sync_block(int line) {
    if (emu.at_block && emu.block_line != line)
        emu_fail("the threads of a block wait at different __syncthreads", "kernel.cu", line);
    emu.block_line = line;
    if (++emu.at_block + emu.done == emu.threads)
        emu_release_block();
    else
        emu_wait(EMU_WAITS_FOR_BLOCK);
}

static void emu_sync_warp(unsigned mask, int line, bool whole) {
    const int warp = emu.current / 32, first = warp * 32;
    const int lanes = min(32, emu.threads - first);
    if (mask != 0xffffffffu) emu_fail("a mask that does not name all 32 lanes", "kernel.cu", line);
    if (whole && lanes < 32)
        emu_fail("a shuffle in a warp of fewer than 32 threads", "kernel.cu", line);
    if (emu.warp_done[warp])
        emu_fail("a warp waits for a thread that has returned", "kernel.cu", line);
    if (emu.at_warp[warp] && emu.warp_line[warp] != line)
        emu_fail("the lanes of a warp wait at different places", "kernel.cu", line);
    emu.warp_line[warp] = line;
    if (++emu.at_warp[warp] == lanes) {
        emu.at_warp[warp] = 0;
        emu_release(first, first + lanes, EMU_WAITS_FOR_WARP);
    } else {
        emu_wait(EMU_WAITS_FOR_WARP);
    }
}

// The value that lane `source` gave; a lane cannot be two shuffles ahead, so two slots are enough.
template <class T> static T emu_exchange(unsigned mask, T value, int source, int line) {
    static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
    const int thread = emu.current, side = emu.parity[thread] ^= 1;
    __builtin_memcpy(&emu.slots[side][thread], &value, sizeof(T));
    emu_sync_warp(mask, line, true);
    T result;
    __builtin_memcpy(&result, &emu.slots[side][(thread & ~31) | source], sizeof(T));
    return result;
}

static inline int emu_down(unsigned delta, int width = 32) {
    int lane = emu.current & 31;
    return (lane & (width - 1)) + (int)delta < width ? lane + (int)delta : lane;
}
static inline int emu_up(unsigned delta, int width = 32) {
    int lane = emu.current & 31;
    return (lane & (width - 1)) >= (int)delta ? lane - (int)delta : lane;
}
static inline int emu_xor(int mask, int width = 32) {
    int lane = emu.current & 31, source = lane ^ mask;
    return source < (lane & ~(width - 1)) + width ? source & 31 : lane;
}
static inline int emu_at(int source, int width = 32) {
    return (emu.current & 31 & ~(width - 1)) | (source & (width - 1));
}

#define __syncthreads() emu_sync_block(__LINE__)
#define EMU_FULL(mask, ...) mask
#define __syncwarp(...) emu_sync_warp(EMU_FULL(__VA_ARGS__ __VA_OPT__(,) 0xffffffffu), __LINE__, false)
#define __shfl_sync(mask, value, ...) emu_exchange(mask, value, emu_at(__VA_ARGS__), __LINE__)
#define __shfl_down_sync(mask, value, ...) emu_exchange(mask, value, emu_down(__VA_ARGS__), __LINE__)
#define __shfl_up_sync(mask, value, ...) emu_exchange(mask, value, emu_up(__VA_ARGS__), __LINE__)
#define __shfl_xor_sync(mask, value, ...) emu_exchange(mask, value, emu_xor(__VA_ARGS__), __LINE__)

// Faults that the compiler's checks find ----------------------------------------------------------

#if !defined(EMU_SANITIZED)
struct EmuPlace {
    const char *file;
    unsigned line, column;
};
#define EMU_HANDLER(name, words) \
    extern "C" void __ubsan_handle_##name(EmuPlace *place, emu_size, emu_size) { \
        emu_fail(words, place->file, (int)place->line); \
    }
EMU_HANDLER(type_mismatch_v1, "a misaligned access")
EMU_HANDLER(out_of_bounds, "an index outside an array")
EMU_HANDLER(add_overflow, "a signed sum that overflows")
EMU_HANDLER(sub_overflow, "a signed difference that overflows")
EMU_HANDLER(mul_overflow, "a signed product that overflows")
EMU_HANDLER(negate_overflow, "a signed negation that overflows")
EMU_HANDLER(divrem_overflow, "a division by zero or that overflows")
EMU_HANDLER(shift_out_of_bounds, "a shift by more bits than there are")
#undef EMU_HANDLER
#endif

// Kernels by name ------------------------------------------------------------------------------

template <class T> struct emu_letter { static const char value = '?'; };
template <class T> struct emu_letter<T *> { static const char value = 'P'; };
template <class T> struct emu_letter<T *__restrict> { static const char value = 'P'; };
#define EMU_LETTER(type, letter) \
    template <> struct emu_letter<type> { static const char value = letter; }; 
EMU_LETTER(int, 'i')
EMU_LETTER(unsigned, 'i')
EMU_LETTER(long, 'q')
EMU_LETTER(unsigned long, 'q')
EMU_LETTER(long long, 'q')
EMU_LETTER(unsigned long long, 'q')
EMU_LETTER(float, 'f')
EMU_LETTER(double, 'd')
#undef EMU_LETTER

template <int... I> struct emu_places {};
template <class... A> struct emu_kernel {
    template <void (*kernel)(A...), int... I>
    static void call(const char *packed, emu_places<I...>) {
        kernel(*(A *)(packed + 8 * I)...);
    }
    template <void (*kernel)(A...)> static void run(const char *packed) {
        call<kernel>(packed, emu_places<__integer_pack(sizeof...(A))...>());
    }
    static const char *letters() {
        static const char value[] = {emu_letter<A>::value..., 0};
        return value;
    }
};
template <class... A> emu_kernel<A...> emu_kernel_of(void (*)(A...));

// `bounds` is the most threads of a block that the kernel was compiled for. The names here begin
// with emu_ because a kernel may be called anything else.
#define EMU_KERNEL(name, bounds) \
    EMU_EXPORT int emu_launch_##name(const unsigned *emu_sizes, const char *emu_packed, \
                                     char *emu_stacks, int emu_reverse, \
                                     unsigned long emu_seed) { \
        return emu_launch(&decltype(emu_kernel_of(&name))::template run<&name>, emu_sizes, \
                          emu_packed, emu_stacks, emu_reverse, emu_seed); \
    } \
    EMU_EXPORT const char *emu_letters_##name() { \
        return decltype(emu_kernel_of(&name))::letters(); \
    } \
    EMU_EXPORT int emu_bounds_##name() { return bounds; }
