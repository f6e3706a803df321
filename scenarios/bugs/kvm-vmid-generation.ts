// A generation published before its VMID.  KVM on arm, 2018.
import { fails, fn, patch, returned, safe, scenario, type Steps, type Word } from 'gracewalk';
import { arm64 } from 'gracewalk/arch';
import { READ_ONCE, WRITE_ONCE, spin_lock, spin_unlock } from 'gracewalk/linux';

const OLD_VMID = 254;
const NEW_VMID = 1;

interface State {
  readonly vmid_lock: Word;
  /** kvm_vmid_gen, after the numbers have run out once more. */
  readonly generation: Word;
  /** kvm->arch.vmid_gen: in which generation the VM got its VMID. */
  readonly vmid_gen: Word;
  /** kvm->arch.vttbr, of which the VMID matters here. */
  readonly vttbr: Word;
  /** The VMID under which each vCPU runs; 0 while it does not. */
  readonly running: readonly Word[];
}

const need_new_vmid_gen = fn(function* need_new_vmid_gen(state: State): Steps<boolean> {
  const current = yield* READ_ONCE(state.generation);
  return (yield* READ_ONCE(state.vmid_gen)) !== current;
});

/** The generation last: who sees it must see the VMID that belongs to it. */
const assign_vmid = fn(function* assign_vmid({ generation, vmid_gen, vttbr }: State): Steps<void> {
  const current = yield* READ_ONCE(generation);
  yield* WRITE_ONCE(vttbr, NEW_VMID);
  yield* WRITE_ONCE(vmid_gen, current);
});

const update_vttbr = fn(function* update_vttbr(state: State): Steps<void> {
  if (!(yield* need_new_vmid_gen(state))) return;
  yield* spin_lock(state.vmid_lock);
  if (yield* need_new_vmid_gen(state)) yield* assign_vmid(state);
  yield* spin_unlock(state.vmid_lock);
});

const kvm_arch_vcpu_ioctl_run = fn(function* kvm_arch_vcpu_ioctl_run(
  state: State,
  vcpu: number,
): Steps<number> {
  yield* update_vttbr(state);
  const vmid = yield* READ_ONCE(state.vttbr);
  yield* WRITE_ONCE(state.running[vcpu] as Word, vmid);
  return vmid;
});

export default scenario<State>('kvm-vmid-generation', {
  title: 'KVM on arm: two vCPUs of one VM run under two VMIDs',
  citation:
    'linux commit fb544d1ca65a (the id is from memory), "KVM: arm/arm64: Fix VMID alloc race by reverting to lock-less", 2018',
  story:
    'When VMIDs run out a new generation begins, and every VM gets a new one at its next entry. A vCPU that finds ' +
    'the generation of its VM up to date enters without the lock. The generation was published before the VMID that ' +
    'belongs to it: a second vCPU found it current, and entered with the old VMID, which by then could belong to ' +
    'another VM. The cure publishes the generation last.',

  machine: arm64({ cpus: 2 }),

  setup: (m) => ({
    vmid_lock: m.memory.variable('kvm_vmid_lock'),
    generation: m.memory.variable('kvm_vmid_gen', 2),
    vmid_gen: m.memory.variable('kvm->arch.vmid_gen', 1),
    vttbr: m.memory.variable('kvm->arch.vttbr', OLD_VMID),
    running: [m.memory.variable('VMID of vcpu0'), m.memory.variable('VMID of vcpu1')],
  }),

  run: {
    CPU0: (state) => kvm_arch_vcpu_ioctl_run(state, 0),
    CPU1: (state) => kvm_arch_vcpu_ioctl_run(state, 1),
  },

  always: {
    'nobody runs under a VMID of an old generation': (v) =>
      v.s.running.every((word) => v.read(word) !== OLD_VMID),
  },

  sometimes: {
    'a vCPU enters without the lock': returned(need_new_vmid_gen, false),
    'a vCPU gets the new VMID': returned(kvm_arch_vcpu_ioctl_run, NEW_VMID),
  },

  variants: {
    buggy: fails('property', {
      shows: ['bug:kvm-vmid-generation'],
      patches: [
        patch(assign_vmid, function* ({ generation, vmid_gen, vttbr }) {
          const current = yield* READ_ONCE(generation);
          yield* WRITE_ONCE(vmid_gen, current);
          yield* WRITE_ONCE(vttbr, NEW_VMID);
        }),
      ],
    }),
    fixed: safe(),
  },
});
