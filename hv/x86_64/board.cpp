// What C++ does for a CPU before and behind a main(): descriptor tables, the other CPUs' start, and the end.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hv/outcome.hpp"
#include "hv/print.hpp"
#include "hv/x86_64/boot_info.hpp"
#include "hv/x86_64/console.hpp"
#include "hv/x86_64/cpu.hpp"
#include "hv/x86_64/interrupts.hpp"
#include "hv/x86_64/local_apic.hpp"
#include "hv/x86_64/main.hpp"
#include "hv/x86_64/ports.hpp"
#include "hv/x86_64/registers.hpp"
#include "hv/x86_64/serial_port.hpp"

namespace hv {
namespace {

constexpr std::uint64_t died = 3;

extern "C" {
extern std::uint64_t hv_gdt[];
extern std::byte hv_vectors[];
extern std::byte hv_trampoline_begin[];
extern std::byte hv_trampoline_end[];
extern std::byte hv_trampoline_cpu[];
}

/// [amd/vol2] "64-Bit Task State Segment"
struct TaskState {
  std::uint32_t reserved = 0;
  std::array<std::uint32_t, 6> stacks{};  // of privilege levels, which the hypervisor does not have
  std::array<std::uint32_t, 2> reserved2{};
  std::array<std::uint32_t, 14> interrupt_stacks{};
  std::array<std::uint32_t, 3> rest{0, 0, std::uint32_t{sizeof(std::uint32_t) * 26} << 16};

  void set_interrupt_stack(unsigned number, const std::byte* top) {
    auto const at = reinterpret_cast<std::uint64_t>(top);
    interrupt_stacks[2 * (number - 1)] = static_cast<std::uint32_t>(at);
    interrupt_stacks[2 * (number - 1) + 1] = static_cast<std::uint32_t>(at >> 32);
  }
};
static_assert(sizeof(TaskState) == 104);

struct Gate {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
};

constexpr unsigned double_fault = 8;
constexpr unsigned first_free_vector = 32;

/// An interrupt gate; `stack` is 0 for the current one.
constexpr Gate gate(std::uint64_t handler, unsigned stack) {
  return {(handler & 0xffff) | std::uint64_t{CODE_SELECTOR} << 16 | std::uint64_t{stack} << 32 | 0x8e00ull << 32 |
              (handler >> 16 & 0xffff) << 48,
          handler >> 32};
}
static_assert(gate(0x1234'5678'9abc'def0, 1).low == 0x9abc'8e01'0008'def0);
static_assert(gate(0x1234'5678'9abc'def0, 1).high == 0x1234'5678);

alignas(16) constinit std::array<Gate, 256> gates{};
constinit std::array<TaskState, MOST_CPUS> tasks{};
alignas(16) constinit std::array<std::array<std::byte, 4096>, MOST_CPUS> double_fault_stacks{};
constinit std::array<InterruptHandler, 256> handlers{};

struct [[gnu::packed]] TablePointer {
  std::uint16_t limit;
  const void* base;
};

void fill_gates() {
  auto const vectors = reinterpret_cast<std::uint64_t>(hv_vectors);
  for (unsigned i = 0; i != gates.size(); ++i) gates[i] = gate(vectors + 16 * i, i == double_fault ? 1 : 0);
}

/// Descriptor tables, and the local interrupt controller. Interrupts stay off.
void prepare_cpu(unsigned number) {
  auto& task = tasks[number];
  task.set_interrupt_stack(1, double_fault_stacks[number].data() + double_fault_stacks[number].size());
  auto const base = reinterpret_cast<std::uint64_t>(&task);
  auto const slot = TASK_SELECTOR / 8 + 2 * number;
  constexpr std::uint64_t available_task = 0x89;
  hv_gdt[slot] = (sizeof task - 1) | (base & 0xff'ffff) << 16 | available_task << 40 | (base >> 24 & 0xff) << 56;
  hv_gdt[slot + 1] = base >> 32;
  asm volatile("ltr %w0" : : "r"(slot * 8) : "memory");
  TablePointer const table{sizeof gates - 1, gates.data()};
  asm volatile("lidt %0" : : "m"(table) : "memory");
  LocalApic::enable();
}

/// The old interrupt controllers: a firmware may have left its timer running.
void silence_old_controllers() {
  out8(0x21, 0xff);
  out8(0xa1, 0xff);
}

constinit std::atomic<bool> answered{false};

/// Some milliseconds where the time stamp counts nanoseconds or faster.
void wait_a_little() {
  for (auto const until = time_stamp() + 2'000'000; time_stamp() < until;) relax();
}

}  // namespace

void say(std::string_view text) { console(text); }

// Only one of these ports exists on a machine; the others swallow what they get.
void finish(std::uint64_t status) {
  interrupts_off();
  SerialPort{0x3f8}.flush();
  // An emulator's own exit status cannot say all of this: the launcher reads the second serial port.
  SerialPort const report{0x2f8};
  report(static_cast<char>('0' + status));
  report.flush();
  if (status == 0) {
    out16(0x604, 0x2000);  // QEMU: the power goes off, some time soon
    out8(0x8900, 'D');     // Bochs: to its debugger, which then quits
  } else {
    out8(0xf4, 0);  // QEMU's isa-debug-exit
    for (char const c : std::string_view{"Shutdown"}) out8(0x8900, static_cast<std::uint8_t>(c));
  }
  for (;;) asm volatile("hlt");
}

void die(std::string_view why) {
  print(console, "hv: ", why, "\n");
  finish(died);
}

void handle_interrupt(std::uint8_t vector, InterruptHandler handler) { handlers[vector] = handler; }

extern "C" void hv_interrupted(const InterruptFrame* frame) {
  if (frame->vector == LocalApic::spurious_vector) return;
  if (frame->vector >= first_free_vector && handlers[frame->vector] != nullptr) {
    handlers[frame->vector]();
    LocalApic::end_of_interrupt();
    return;
  }
  print(console, "hv: unexpected interrupt ", frame->vector, ", error ", Hex{frame->error}, " at ", Hex{frame->rip},
        ", CR2 ", Hex{read_cr2()}, ", RSP ", Hex{frame->rsp}, "\n");
  finish(died);
}

bool turn_on(Cpu& cpu) {
  if (cpu.number == 0 || cpu.number >= MOST_CPUS) return false;
  auto* const page = reinterpret_cast<std::byte*>(std::uint64_t{TRAMPOLINE});
  auto const size = static_cast<std::size_t>(hv_trampoline_end - hv_trampoline_begin);
  std::memcpy(page, hv_trampoline_begin, size);
  auto const argument = reinterpret_cast<std::uint64_t>(&cpu);
  std::memcpy(page + (hv_trampoline_cpu - hv_trampoline_begin), &argument, sizeof argument);
  answered.store(false);
  LocalApic::send_init(cpu.apic_id);
  wait_a_little();
  // A CPU that is still about its reset hears none of these, and one that has begun hears no more of them.
  for (unsigned attempt = 0; attempt != 1000 && !answered.load(); ++attempt) {
    LocalApic::send_startup(cpu.apic_id, TRAMPOLINE);
    wait_a_little();
  }
  return answered.load();
}

extern "C" [[noreturn]] void hv_boot_second(Cpu* cpu) {
  prepare_cpu(cpu->number);
  answered.store(true);
  interrupts_on();
  cpu->main(*cpu, cpu->context);
  for (;;) asm volatile("hlt");
}

extern "C" [[noreturn]] void hv_boot(std::uint32_t magic, std::uint32_t info) {
  fill_gates();
  silence_old_controllers();
  prepare_cpu(0);
  if (magic != BootInfo::magic) die("not loaded by a multiboot loader");
  interrupts_on();
  hv_main(BootInfo{info});
}

}  // namespace hv

// Where the compiler and libstdc++ end what cannot go on.
extern "C" void abort() { hv::die("abort"); }

namespace std {
// string_view::substr past the end.
void __throw_out_of_range_fmt(const char*, ...) { hv::die("out of range"); }
}  // namespace std
