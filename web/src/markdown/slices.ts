/**
 * Work that may wait (highlighting, typesetting), done so that no frame is late: up to a few milliseconds of a frame at
 * once, so that nothing flickers in the usual case, and the rest in slices between frames.
 */

const SLICE_MS = 6;

/** Does one step and says whether another is left. */
type Job = () => boolean;

const waiting = new Set<Job>();
let spent = 0;
let pumping = false;

/** Starts the job at once if this frame has time left. Returns what gives it up. */
export function schedule(job: Job): () => void {
  if (waiting.size > 0 || !runWithin(job)) {
    waiting.add(job);
    pump();
  }
  return () => waiting.delete(job);
}

/** Steps of one job until it is done or the frame's time is used. */
function runWithin(job: Job): boolean {
  if (spent === 0) setTimeout(() => (spent = 0));
  const start = performance.now();
  const before = spent;
  let more = true;
  while (more && spent < SLICE_MS) {
    more = job();
    spent = before + (performance.now() - start);
  }
  return !more;
}

function pump(): void {
  if (pumping) return;
  pumping = true;
  // A task of its own, after the frame that asked for it.
  setTimeout(() => {
    pumping = false;
    spent = 0;
    for (const job of waiting) {
      waiting.delete(job);
      if (!runWithin(job)) waiting.add(job);
      if (spent >= SLICE_MS) break;
    }
    if (waiting.size > 0) pump();
  });
}
