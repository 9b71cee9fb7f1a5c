/** A planted fault: a kernel that changes entries and tells no other vCPU. Its guest must be seen to go wrong. */
import { Shootdown } from "../../src/guest/kernel/shootdown.ts";
import mapUnmapShootdown from "../../scenarios/map-unmap-shootdown.ts";

Shootdown.prototype.flushOthers = () => undefined;

export default { ...mapUnmapShootdown, name: "forgetful-kernel" };
