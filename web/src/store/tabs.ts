/** What the tabs of this browser tell each other: that a thread has changed. What it became is asked of the server. */

type News = { readonly kind: "thread"; readonly id: string } | { readonly kind: "threads" };

const channel = typeof BroadcastChannel === "undefined" ? undefined : new BroadcastChannel("headwater.page");

export function tellTabs(news: News): void {
  channel?.postMessage(news);
}

export function onNews(listener: (news: News) => void): () => void {
  if (!channel) return () => {};
  const heard = (event: MessageEvent<News>): void => listener(event.data);
  channel.addEventListener("message", heard);
  return () => channel.removeEventListener("message", heard);
}
