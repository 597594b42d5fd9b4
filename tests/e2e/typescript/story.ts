// The life of one user, told with the functions of the page only.
import { Code, ConnectError } from "@connectrpc/connect";
import { createUser, deleteUser, getUser, listUsers, restoreUser, updateUser } from "./page";

async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "ok";
  } catch (error) {
    return Code[ConnectError.from(error).code];
  }
}

async function names(): Promise<string[]> {
  return (await listUsers()).map((user) => user.name ?? "");
}

export async function story() {
  const created = await createUser("Alice", "alice@example.com");
  const id = created?.id;
  if (id === undefined) {
    throw new Error("the created record has no id");
  }
  const recordId: number = id; // an int32, so no bigint
  const read = await getUser(recordId);
  const updated = await updateUser(recordId, "Alice Smith");
  const listed = await names();
  await deleteUser(recordId);
  const afterDelete = { listed: await names(), get: await codeOf(getUser(recordId)) };
  const restored = await restoreUser(recordId);
  return {
    idType: typeof recordId,
    created: [created?.name, created?.email],
    read: [read?.name, read?.email],
    updated: [updated?.name, updated?.email],
    listed,
    afterDelete,
    restored: restored?.name,
    missing: await codeOf(getUser(recordId + 1_000_000)),
  };
}
