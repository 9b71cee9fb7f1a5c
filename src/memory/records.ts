/** Records over a fixed set of keys. TypeScript forgets keys when it lists or collects them; here alone they are restored. */

/** The keys of a record, in the order in which they were written. */
export function keysOf<Key extends string>(record: Readonly<Record<Key, unknown>>): readonly Key[] {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a literal has no other keys than its type
  return Object.keys(record) as Key[];
}

/** A record with a value for each key. */
export function recordOf<Key extends string, Value>(
  keys: readonly Key[],
  value: (key: Key, index: number) => Value,
): Record<Key, Value> {
  const entries = keys.map((key, index): [Key, Value] => [key, value(key, index)]);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- one entry for each key
  return Object.fromEntries(entries) as Record<Key, Value>;
}
