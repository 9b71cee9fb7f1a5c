/** One thread of an exploration. */
import { runExplorer } from "../src/engines/explore/explorer.ts";
import type { ExploreReport, ExploreTask, Refused, StudyTask } from "../src/engines/explore/explorer.ts";
import type { StudiedFailure } from "../src/engines/explore/failures/study-failure.ts";

export default function work(
  task: ExploreTask | StudyTask,
): Promise<ExploreReport | StudiedFailure | Refused> {
  return runExplorer(task);
}
