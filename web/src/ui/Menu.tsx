/** A menu of actions at a button, open from the start: it comes when it is wanted (MenuLater.tsx). Not modal: a modal one
 * would inject styles, which the page's policy forbids.
 */

import * as Radix from "@radix-ui/react-dropdown-menu";
import type { ReactElement, ReactNode } from "react";

interface MenuProps {
  readonly trigger: ReactElement;
  readonly children: ReactNode;
  readonly align?: "start" | "end";
  readonly onOpenChange?: (open: boolean) => void;
}

export function Menu({ trigger, children, align = "end", onOpenChange }: MenuProps): ReactNode {
  return (
    <Radix.Root defaultOpen modal={false} {...(onOpenChange ? { onOpenChange } : {})}>
      <Radix.Trigger asChild>{trigger}</Radix.Trigger>
      {/* In its place and not in a portal: in a drawer, which is modal, everything outside is inert. */}
      <Radix.Content className="menu" align={align} sideOffset={6} collisionPadding={8}>
        {children}
      </Radix.Content>
    </Radix.Root>
  );
}

interface ItemProps {
  readonly icon: ReactNode;
  readonly children: ReactNode;
  readonly danger?: boolean;
  readonly onSelect: () => void;
}

export function MenuItem({ icon, children, danger = false, onSelect }: ItemProps): ReactNode {
  return (
    <Radix.Item className={danger ? "menu-item danger" : "menu-item"} onSelect={onSelect}>
      {icon}
      <span className="menu-words">{children}</span>
    </Radix.Item>
  );
}

export const MenuSeparator = (): ReactNode => <Radix.Separator className="menu-separator" />;
export const MenuRadioGroup = Radix.RadioGroup;
export const MenuRadioItem = Radix.RadioItem;
export const MenuLabel = Radix.Label;
