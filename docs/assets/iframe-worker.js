// A browser starts no worker from a file on disk. So that the search works there, too, a hidden
// frame stands for the worker: it runs the worker's script, and messages go to and fro. The theme's
// worker looks for the name IFrameWorker.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inner = frame.contentWindow;
      const own = new URL(url, document.baseURI);
      const load = (src) => new Promise((resolve, reject) => {
        const script = inner.document.createElement("script");
        script.src = new URL(src, own);
        script.onload = resolve;
        script.onerror = reject;
        inner.document.body.append(script);
      });
      inner.importScripts = (...urls) =>
        urls.reduce((before, each) => before.then(() => load(each)), Promise.resolve());
      inner.postMessage = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        this.onmessage?.(event);
      };
      this.frame = frame;
      this.ready = load(own);
    }
    postMessage(data) {
      this.ready.then(() => {
        const inner = this.frame.contentWindow;
        inner.dispatchEvent(new inner.MessageEvent("message", { data }));
      });
    }
    terminate() {
      this.frame.remove();
    }
  };
}
