// An object is unlinked and freed while somebody reads it.  What does the grace period protect?
import { fails, fn, patch, safe, scenario, touched, only, type Steps } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  READ_ONCE,
  kfree_rcu,
  kmem_cache_create,
  kmem_cache_free,
  new_object,
  new_pointer,
  rcu_assign_pointer,
  rcu_dereference,
  rcu_read_lock,
  rcu_read_unlock,
  type KmemCache,
  type ObjectPointer,
  type SlabObject,
} from 'gracewalk/linux';

type Foo = SlabObject<'a'>;

interface State {
  readonly cache: KmemCache<'a'>;
  readonly gbl_foo: ObjectPointer<'a'>;
  readonly foo: Foo;
}

const reader = fn(function* reader({ gbl_foo }: State): Steps<number | null> {
  yield* rcu_read_lock();
  const p = yield* rcu_dereference(gbl_foo);
  const a = p ? yield* READ_ONCE(p.a) : null;
  yield* rcu_read_unlock();
  return a;
});

const free_foo = fn(function* free_foo(cache: KmemCache<'a'>, foo: Foo): Steps<void> {
  yield* kfree_rcu(cache, foo);
});

/** The broken form. */
function* free_at_once(cache: KmemCache<'a'>, foo: Foo): Steps<void> {
  yield* kmem_cache_free(cache, foo);
}

const updater = fn(function* updater({ cache, gbl_foo, foo }: State): Steps<void> {
  yield* rcu_assign_pointer(gbl_foo, null);
  yield* free_foo(cache, foo);
});

export default scenario<State>('rcu-free', {
  machine: x86_64({ cpus: 2 }),

  setup(m) {
    const cache = kmem_cache_create('foo', ['a']);
    const foo = new_object(m, cache, 'foo', { a: 1 });
    return { cache, foo, gbl_foo: new_pointer(m, 'gbl_foo', cache, foo) };
  },

  run: { CPU0: reader, CPU1: updater },

  sometimes: {
    'the object waits while it is read': only(
      ['kfree_rcu'],
      touched('CPU0', ({ foo }) => foo, 'pending'),
    ),
  },

  variants: {
    kfree_rcu: safe(),
    'freed at once': fails('use-after-free', { patches: [patch(free_foo, free_at_once)] }),
  },
});
