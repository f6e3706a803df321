// A lookup without locks in a table of objects that are recycled at once.  Does it return the object it was
// asked for?  linux v6.12 include/linux/slab.h, the comment on SLAB_TYPESAFE_BY_RCU; specification 5.5.
import {
  bounded,
  fails,
  fn,
  holds,
  leaf,
  only,
  patch,
  returned,
  safe,
  scenario,
  touched,
  type Machine,
  type Steps,
  type Word,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  READ_ONCE,
  WRITE_ONCE,
  __free_slab,
  atomic_add_unless,
  call_rcu,
  fetch_add,
  free_slab,
  kfree_rcu,
  kmem_cache_alloc,
  kmem_cache_create,
  kmem_cache_free,
  new_object,
  new_pointer,
  rcu_assign_pointer,
  rcu_dereference,
  rcu_read_lock,
  rcu_read_unlock,
  slab_post_alloc_hook,
  spin_lock,
  spin_unlock,
  tree_call_rcu,
  write_word,
  type KmemCache,
  type ObjectPointer,
  type SlabObject,
} from 'gracewalk/linux';

type Field = 'refcnt' | 'key' | 'lock';
type Obj = SlabObject<Field>;

interface State {
  readonly cache: KmemCache<Field>;
  /** The table has a place for each key. */
  readonly table: Readonly<Record<number, ObjectPointer<Field>>>;
  readonly A: Obj;
  /** The key of what a lookup of 1 has found. */
  readonly found: Word;
}

const spin_lock_init = leaf(function* spin_lock_init(lock: Word): Steps<void> {
  yield* write_word(lock, 0);
});

const obj_ctor = fn(function* obj_ctor(obj: Obj): Steps<void> {
  yield* spin_lock_init(obj.lock);
});

/** The object of key 1 is A. */
function table_of(m: Machine, SLAB_TYPESAFE_BY_RCU: boolean, objects = 1): State {
  const options = { SLAB_TYPESAFE_BY_RCU, objects, ctor: obj_ctor };
  const cache = kmem_cache_create('obj', ['refcnt', 'key', 'lock'], options);
  const A = new_object(m, cache, 'A', { refcnt: 1, key: 1 });
  const table = {
    1: new_pointer(m, 'table[1]', cache, A),
    2: new_pointer(m, 'table[2]', cache, null),
  };
  return { cache, table, A, found: m.memory.variable('found') };
}

const obj_free = fn(function* obj_free({ cache }: State, obj: Obj): Steps<void> {
  yield* kmem_cache_free(cache, obj);
});

const obj_put = fn(function* obj_put(s: State, obj: Obj): Steps<void> {
  const refs = yield* fetch_add(obj.refcnt, -1);
  if (refs === 1) yield* obj_free(s, obj);
});

/** A reference on what may be free, or another object, by now. */
const obj_get = fn(
  function* obj_get(obj: Obj): Steps<boolean> {
    return yield* atomic_add_unless(obj.refcnt, 1, 0);
  },
  { onBehalf: true },
);

/** The re-check: with the reference the object stays what it is, so what it is now is what counts. */
const obj_is = fn(
  function* obj_is(obj: Obj, key: number): Steps<boolean> {
    return (yield* READ_ONCE(obj.key)) === key;
  },
  { protects: { what: 'the re-check of the key', without: holds } },
);

const lookup = fn(function* lookup(s: State, key: number): Steps<Obj | null> {
  for (const _ of bounded(2)) {
    const obj = yield* rcu_dereference(s.table[key] as ObjectPointer<Field>);
    if (!obj) return null;
    if (!(yield* obj_get(obj))) continue;
    if (yield* obj_is(obj, key)) return obj;
    yield* obj_put(s, obj);
  }
  return null;
});

/** Looks up key 1 and says what it got. */
const reader = fn(function* reader(s: State): Steps<void> {
  yield* rcu_read_lock();
  const obj = yield* lookup(s, 1);
  yield* rcu_read_unlock();
  if (!obj) return;
  const key = yield* READ_ONCE(obj.key);
  yield* WRITE_ONCE(s.found, key);
  yield* obj_put(s, obj);
});

function* refcnt_first(obj: Obj, key: number): Steps<void> {
  yield* WRITE_ONCE(obj.refcnt, 1);
  yield* WRITE_ONCE(obj.key, key);
}

/** The key and everything else first, the reference count last. */
const obj_init = fn(
  function* obj_init(obj: Obj, key: number): Steps<void> {
    yield* WRITE_ONCE(obj.key, key);
    yield* WRITE_ONCE(obj.refcnt, 1);
  },
  { protects: { what: 'the order of obj_init()', without: refcnt_first } },
);

/** Replaces the object of key 1 by one of key 2. */
const updater = fn(function* updater(s: State): Steps<void> {
  const { cache, table, A } = s;
  yield* rcu_assign_pointer(table[1] as ObjectPointer, null);
  yield* obj_put(s, A);
  const obj = yield* kmem_cache_alloc(cache);
  yield* obj_init(obj, 2);
  yield* rcu_assign_pointer(table[2] as ObjectPointer, obj);
});

/** The re-check under the object's lock: is it still where it was found? */
const obj_hashed = fn(
  function* obj_hashed(s: State, obj: Obj, key: number): Steps<boolean> {
    return (yield* rcu_dereference(s.table[key] as ObjectPointer<Field>)) === obj;
  },
  { protects: { what: 'the re-check of the place', without: holds } },
);

const lookup_locked = fn(function* lookup_locked(s: State, key: number): Steps<Obj | null> {
  for (const _ of bounded(2)) {
    const obj = yield* rcu_dereference(s.table[key] as ObjectPointer<Field>);
    if (!obj) return null;
    yield* spin_lock(obj.lock);
    if (yield* obj_hashed(s, obj, key)) return obj;
    yield* spin_unlock(obj.lock);
  }
  return null;
});

const locking_reader = fn(function* reader(s: State): Steps<void> {
  yield* rcu_read_lock();
  const obj = yield* lookup_locked(s, 1);
  if (obj) {
    const key = yield* READ_ONCE(obj.key);
    yield* WRITE_ONCE(s.found, key);
    yield* spin_unlock(obj.lock);
  }
  yield* rcu_read_unlock();
});

const locking_updater = fn(function* updater({ cache, table, A }: State): Steps<void> {
  yield* spin_lock(A.lock);
  yield* rcu_assign_pointer(table[1] as ObjectPointer, null);
  yield* spin_unlock(A.lock);
  yield* kmem_cache_free(cache, A);
  const obj = yield* kmem_cache_alloc(cache);
  yield* spin_lock(obj.lock); // a reader may hold it
  yield* WRITE_ONCE(obj.key, 2);
  yield* rcu_assign_pointer(table[2] as ObjectPointer, obj);
  yield* spin_unlock(obj.lock);
});

const LOCKS = { CPU0: locking_reader, CPU1: locking_updater };

export default scenario<State>('slab-typesafe-by-rcu', {
  machine: x86_64({ cpus: 2 }),
  setup: (m) => table_of(m, true),

  run: { CPU0: reader, CPU1: updater },

  always: {
    'a lookup of 1 finds no other object': (v) => v.read(v.s.found) < 2,
  },

  sometimes: {
    'the reader finds its object': (v) => v.read(v.s.found) === 1,
    'the reader looks at a freed slab': only(
      ['reference'],
      touched('CPU0', ({ A }) => A, 'pending'),
    ),
    'the reference is refused': only(['reference'], returned(obj_get, false)),
    'the reference is on another object': only(['reference'], returned(obj_is, false)),
    'the lock is of another object': only(['lock'], returned(obj_hashed, false)),
  },

  variants: {
    reference: safe(),
    'reference, two per slab': safe({ setup: (m) => table_of(m, true, 2) }),
    'reference, tree': safe({ patches: [patch(call_rcu, tree_call_rcu)] }),
    // M5.8: the object was freed and handed out again for another key.
    'no re-check': fails('property', {
      shows: ['M5.8'],
      patches: [
        patch(obj_is, function* () {
          return true;
        }),
      ],
    }),
    'plain increment': fails(['double-free', 'use-after-free', 'property'], {
      patches: [
        patch(obj_get, function* (obj) {
          yield* fetch_add(obj.refcnt, 1);
          return true;
        }),
      ],
    }),
    'reference count first': fails('property', {
      patches: [patch(obj_init, refcnt_first)],
    }),
    'not typesafe': fails('use-after-free', { setup: (m) => table_of(m, false) }),
    'not typesafe, kfree_rcu': safe({
      setup: (m) => table_of(m, false),
      patches: [
        patch(obj_free, function* ({ cache }, obj) {
          yield* kfree_rcu(cache, obj);
        }),
      ],
    }),
    'slab freed at once': fails('use-after-free', {
      patches: [
        patch(free_slab, function* (cache, slab) {
          yield* __free_slab(cache, slab);
        }),
      ],
    }),
    lock: safe({ run: LOCKS }),
    'lock, no re-check': fails('property', {
      shows: ['M5.8'],
      run: LOCKS,
      patches: [
        patch(obj_hashed, function* () {
          return true;
        }),
      ],
    }),
    'constructor each time': fails('lock-leak', {
      run: LOCKS,
      patches: [
        patch(slab_post_alloc_hook, function* (cache, object) {
          if (cache.ctor) yield* cache.ctor(object);
        }),
      ],
    }),
  },
});
