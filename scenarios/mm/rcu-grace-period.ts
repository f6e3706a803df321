// An updater unlinks an object and leaves freeing it to RCU.  Which readers must a grace period wait for?
// linux v6.12 kernel/rcu/tree.c, Documentation/RCU/Design/Requirements; specification section 5.
import {
  fails,
  fn,
  only,
  patch,
  returned,
  safe,
  scenario,
  touched,
  type Steps,
  type Word,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  READ_ONCE,
  call_rcu,
  kfree_rcu,
  kmem_cache_create,
  kmem_cache_free,
  local_irq_restore,
  local_irq_save,
  new_object,
  new_pointer,
  quiescent_state,
  rcu_assign_pointer,
  rcu_dereference,
  rcu_qs,
  rcu_read_lock,
  rcu_read_unlock,
  rcu_seq_snap,
  spin_lock,
  spin_unlock,
  synchronize_rcu,
  tree_call_rcu,
  tree_synchronize_rcu,
  type KmemCache,
  type ObjectPointer,
  type SlabObject,
} from 'gracewalk/linux';

type Foo = SlabObject<'a'>;

interface State {
  readonly cache: KmemCache<'a'>;
  readonly gbl_foo: ObjectPointer<'a'>;
  readonly foo: Foo;
  readonly lock: Word;
}

const TREE = patch(call_rcu, tree_call_rcu);

const foo_get_a = fn(function* foo_get_a({ gbl_foo }: State): Steps<number | null> {
  yield* rcu_read_lock();
  const p = yield* rcu_dereference(gbl_foo);
  const a = p ? yield* READ_ONCE(p.a) : null;
  yield* rcu_read_unlock();
  return a;
});

const foo_get_a_irq = fn(function* foo_get_a_irq({ gbl_foo }: State): Steps<number | null> {
  const flags = yield* local_irq_save();
  const p = yield* rcu_dereference(gbl_foo);
  const a = p ? yield* READ_ONCE(p.a) : null;
  yield* local_irq_restore(flags);
  return a;
});

/** M5.5: the section ends before the last use. */
const foo_get_a_late = fn(function* foo_get_a_late({ gbl_foo }: State): Steps<number | null> {
  yield* rcu_read_lock();
  const p = yield* rcu_dereference(gbl_foo);
  yield* rcu_read_unlock();
  return p ? yield* READ_ONCE(p.a) : null;
});

const other_callback = fn(function* other_callback(): Steps<void> {
  // Somebody else's: it is there for the grace period that it starts.
});

const foo_remove = fn(function* foo_remove({ cache, gbl_foo, foo }: State): Steps<void> {
  yield* rcu_assign_pointer(gbl_foo, null);
  yield* kfree_rcu(cache, foo);
});

const foo_remove_sync = fn(function* foo_remove_sync({ cache, gbl_foo, foo }: State): Steps<void> {
  yield* rcu_assign_pointer(gbl_foo, null);
  yield* synchronize_rcu();
  yield* kmem_cache_free(cache, foo);
});

/** A grace period may be in progress when the object is unlinked. */
const BUSY = {
  CPU0: foo_get_a,
  *CPU1(s: State) {
    yield* call_rcu(other_callback, []);
    yield* foo_remove(s);
  },
};
const INTERRUPTS_OFF = { CPU0: foo_get_a_irq, CPU1: foo_remove };
const SYNCHRONIZE = { CPU0: foo_get_a, CPU1: foo_remove_sync };

export default scenario<State>('rcu-grace-period', {
  machine: x86_64({ cpus: 2 }),

  setup(m) {
    const cache = kmem_cache_create('foo', ['a']);
    const foo = new_object(m, cache, 'foo', { a: 1 });
    const gbl_foo = new_pointer(m, 'gbl_foo', cache, foo);
    return { cache, foo, gbl_foo, lock: m.memory.variable('lock') };
  },

  run: { CPU0: foo_get_a, CPU1: foo_remove },

  sometimes: {
    'the object waits while it is read': only(
      [
        'call_rcu',
        'call_rcu, tso',
        'call_rcu, tree',
        'call_rcu, tree, tso',
        'interrupts off',
        'interrupts off, tree',
        'busy, tree',
      ],
      touched('CPU0', ({ foo }) => foo, 'pending'),
    ),
    'a callback is queued during a grace period': only(['busy, tree'], returned(rcu_seq_snap, 8)),
    'the object is found': only(
      ['synchronize_rcu', 'synchronize_rcu, tree'],
      returned(foo_get_a, 1),
    ),
  },

  variants: {
    call_rcu: safe(),
    'call_rcu, tso': safe({ model: 'tso' }),
    'interrupts off': safe({ run: INTERRUPTS_OFF }),
    synchronize_rcu: safe({ run: SYNCHRONIZE }),
    // The same questions to the machine that keeps the promise.
    'call_rcu, tree': safe({ patches: [TREE] }),
    'busy, tree': safe({ run: BUSY, patches: [TREE] }),
    'call_rcu, tree, tso': safe({ model: 'tso', patches: [TREE] }),
    'interrupts off, tree': safe({ run: INTERRUPTS_OFF, patches: [TREE] }),
    'synchronize_rcu, tree': safe({
      run: SYNCHRONIZE,
      patches: [patch(synchronize_rcu, tree_synchronize_rcu)],
    }),
    // M5.2: CPU0 has reported for the grace period in progress, then begins to read.
    'joins the running period': fails('use-after-free', {
      run: BUSY,
      shows: ['M5.2', 'L23'],
      patches: [
        TREE,
        patch(rcu_seq_snap, function* (gp_seq) {
          return (gp_seq + 4) & ~3;
        }),
      ],
    }),
    // M5.3: what call_rcu() of preemptible RCU waited for before v4.20.
    'irqs off is quiescent': fails('use-after-free', {
      run: INTERRUPTS_OFF,
      shows: ['M5.3'],
      patches: [
        TREE,
        patch(rcu_qs, function* () {
          yield* quiescent_state({ ignoreAtomic: true, ignoreBlocked: false });
        }),
      ],
    }),
    // M5.3, the dual: a context switch inside rcu_read_lock() is forgotten.
    'preempted is quiescent': fails('use-after-free', {
      shows: ['M5.3'],
      patches: [
        TREE,
        patch(rcu_qs, function* () {
          yield* quiescent_state({ ignoreAtomic: false, ignoreBlocked: true });
        }),
      ],
    }),
    // M5.5
    'early unlock': fails('use-after-free', {
      shows: ['M5.5'],
      run: { CPU0: foo_get_a_late, CPU1: foo_remove },
    }),
    'early unlock, tree': fails('use-after-free', {
      shows: ['M5.5'],
      run: { CPU0: foo_get_a_late, CPU1: foo_remove },
      patches: [TREE],
    }),
    // M5.6: a reader that waits for itself.
    'waits for itself': fails('sleep-in-atomic', {
      shows: ['M5.6'],
      run: {
        CPU0: foo_get_a,
        *CPU1(s) {
          yield* rcu_read_lock();
          yield* foo_remove_sync(s);
          yield* rcu_read_unlock();
        },
      },
      patches: [patch(synchronize_rcu, tree_synchronize_rcu)],
    }),
    'waits under a spinlock': fails('sleep-in-atomic', {
      shows: ['M5.6'],
      run: {
        CPU0: foo_get_a,
        *CPU1(s) {
          yield* spin_lock(s.lock);
          yield* foo_remove_sync(s);
          yield* spin_unlock(s.lock);
        },
      },
    }),
    'waits with interrupts off': fails('sleep-in-atomic', {
      shows: ['M5.6'],
      run: {
        CPU0: foo_get_a,
        *CPU1(s) {
          const flags = yield* local_irq_save();
          yield* foo_remove_sync(s);
          yield* local_irq_restore(flags);
        },
      },
    }),
    'freed at once': fails('use-after-free', { patches: [patch(kfree_rcu, kmem_cache_free)] }),
  },
});
