/** A button whose menu is loaded when the reader first comes near it: the library of menus is a fifth of the page. */

import {
  cloneElement,
  type ComponentType,
  type KeyboardEvent,
  type ReactElement,
  type ReactNode,
  useState,
} from "react";
import { useFail } from "./useFail";

/** What every menu that comes later takes. */
export interface Triggered {
  readonly trigger: ReactElement;
}

interface TriggerProps {
  "aria-haspopup"?: "menu";
  "aria-expanded"?: boolean;
  onPointerEnter?: () => void;
  onFocus?: () => void;
  onClick?: () => void;
  onKeyDown?: (event: KeyboardEvent) => void;
}

interface MenuLaterProps<P> {
  readonly trigger: ReactElement<TriggerProps>;
  readonly load: () => Promise<ComponentType<P & Triggered>>;
  /** What the menu gets besides. */
  readonly menu: P;
  readonly onOpen?: () => void;
}

export function MenuLater<P extends object>({ trigger, load, menu, onOpen }: MenuLaterProps<P>): ReactNode {
  const fail = useFail();
  const [Menu, setMenu] = useState<ComponentType<P & Triggered>>();
  if (Menu) return <Menu {...menu} trigger={trigger} />;
  const early = (): void => void load().catch(() => {}); // told when it is wanted
  const open = (): void => {
    onOpen?.();
    load().then((found) => setMenu(() => found), fail);
  };
  return cloneElement(trigger, {
    "aria-haspopup": "menu",
    "aria-expanded": false,
    onPointerEnter: early,
    onFocus: early,
    onClick: open,
    onKeyDown: (event) => {
      if (event.key !== "ArrowDown") return;
      event.preventDefault();
      open();
    },
  });
}
