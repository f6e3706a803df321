/**
 * Names that people use and the scenario calls otherwise, and how words of events and values are compared.
 */

/** Well-known names of the same thing. Used only where the scenario has no function of the name itself. */
const ALIASES: Readonly<Record<string, readonly string[]>> = {
  local_irq_disable: ['local_irq_save'],
  local_irq_enable: ['local_irq_restore'],
  raw_local_irq_save: ['local_irq_save'],
  raw_local_irq_restore: ['local_irq_restore'],
  gup_fast: ['get_user_pages_fast'],
  gup_fast_pte: ['gup_fast_pte_range'],
  get_user_pages_fast_only: ['get_user_pages_fast'],
  gup_pte_range: ['gup_fast_pte_range'],
  gup_pgd_range: ['gup_fast_pgd_range'],
  mmap_write_lock: ['down_write'],
  mmap_write_unlock: ['up_write'],
  mmap_read_lock: ['down_read'],
  mmap_read_unlock: ['up_read'],
  put_page: ['folio_put'],
  cmpxchg: ['try_cmpxchg'],
  smp_call_function_many_cond: ['smp_call_function_many'],
  on_each_cpu_mask: ['smp_call_function_many'],
  do_munmap: ['munmap'],
  vm_munmap: ['munmap'],
};

/** What the scenario may call a function that was asked for by this name. */
export function aliasesOf(name: string): readonly string[] {
  return ALIASES[name] ?? [];
}

/**
 * Computations on values already read: the kernel writes them as calls, and no step is taken in them, so there
 * is nothing that could be ordered. (The library's own are known by name; see `plainCalls`.)
 */
const PLAIN: ReadonlySet<string> = new Set([
  '__cpumask_clear_cpu',
  'cpumask_clear_cpu',
  'cpumask_copy',
  'cpumask_test_cpu',
  'container_of',
  'per_cpu_ptr',
  'this_cpu_cpumask_var_ptr',
  'this_cpu_ptr',
  'pmd_offset_lockless',
  'pte_offset_kernel',
  'pte_index',
  'virt_to_page',
  'page_to_pfn',
  'pfn_to_page',
  'smp_processor_id',
]);

export function isPlain(name: string, plainCalls: ReadonlySet<string>): boolean {
  return PLAIN.has(name) || plainCalls.has(name);
}

const SAME_WORD: Readonly<Record<string, string>> = {
  scheduled: 'schedules',
  schedule: 'schedules',
  sched: 'schedules',
  interrupt: 'ipi',
};

function words(text: string): string[] {
  const found = text.toLowerCase().match(/[a-z_0-9]+/g) ?? [];
  return found.map((word) => SAME_WORD[word] ?? word);
}

/**
 * May `asked` stand for the event `event`? Its words occur in it, in their order: `schedules in` for
 * `schedules back in`, `IPI` for `IPI: flush_tlb_func`.
 */
export function abbreviates(asked: string, event: string): boolean {
  const all = words(event);
  let at = 0;
  for (const word of words(asked)) {
    at = all.indexOf(word, at) + 1;
    if (at === 0) return false;
  }
  return words(asked).length > 0;
}

/** A value as it is compared: without the arrow and without regard to spaces. */
export function normalised(value: string): string {
  return value
    .replace(/^\s*->\s*/, '')
    .replace(/\s+/g, ' ')
    .trim();
}

export function sameValue(asked: string, comment: string | null): boolean {
  if (comment === null) return false;
  const want = normalised(asked);
  const have = normalised(comment);
  if (want === have || begins(have, want) || (want === 'NULL' && have === 'none')) return true;
  return namesAll(asked, [comment], want);
}

/** `-> X` is found in `-> X, W A D`, and `true` in `true: -> X`: whoever asks need not name every mark. */
function begins(have: string, want: string): boolean {
  return want !== '' && have.startsWith(want) && /^(?:, |: )/.test(have.slice(want.length));
}

/** `KVM_VCPU_PREEMPTED` is found in `KVM_VCPU_PREEMPTED | KVM_VCPU_FLUSH_TLB`. */
function namesAll(asked: string, [comment = '']: readonly string[], want: string): boolean {
  return /^[A-Z][A-Z0-9_]{2,}$/.test(want) && shows(comment, [asked]);
}

/** Are all of these constants in what was observed? */
export function shows(comment: string, constants: readonly string[]): boolean {
  const have: ReadonlySet<string> = new Set(comment.match(/\w+/g) ?? []);
  return constants.every((constant) => have.has(normalised(constant)));
}

/** What C takes for false. */
export function isFalse(value: unknown): boolean {
  if (value === false || value === 0 || value === null || value === 0n) return true;
  return typeof value === 'object' && 'none' in value && value.none === true;
}
