import { type DragEvent, useRef, useState } from "react";

interface Drop {
  readonly over: boolean;
  readonly onDragEnter: (event: DragEvent) => void;
  readonly onDragLeave: (event: DragEvent) => void;
  readonly onDragOver: (event: DragEvent) => void;
  readonly onDrop: (event: DragEvent) => void;
}

const hasFiles = (event: DragEvent): boolean => event.dataTransfer.types.includes("Files");

/** Files that are dropped anywhere on the conversation. */
export function useDrop(onFiles: (files: File[]) => void): Drop {
  // Entering a child leaves its parent: only the difference tells.
  const depth = useRef(0);
  const [over, setOver] = useState(false);
  const move = (by: number): void => {
    depth.current = Math.max(0, depth.current + by);
    setOver(depth.current > 0);
  };
  return {
    over,
    onDragEnter: (event) => hasFiles(event) && move(1),
    onDragLeave: (event) => hasFiles(event) && move(-1),
    onDragOver: (event) => hasFiles(event) && event.preventDefault(),
    onDrop: (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      move(-depth.current);
      onFiles([...event.dataTransfer.files]);
    },
  };
}
