// A browser starts no worker from a file on disk. So that the search works there, too, a hidden
// frame stands for the worker: it runs the worker's script, and messages go to and fro.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inner = frame.contentWindow;
      // importScripts is synchronous in a worker; here scripts are loaded one after the other
      inner.importScripts = (...urls) => urls.reduce((before, each) => before.then(() =>
        new Promise((resolve, reject) => {
          const script = inner.document.createElement("script");
          script.src = new URL(each, url);
          script.onload = resolve;
          script.onerror = reject;
          inner.document.body.append(script);
        })), Promise.resolve());
      inner.postMessage = (data) => {
        this.dispatchEvent(new MessageEvent("message", { data }));
        this.onmessage?.(new MessageEvent("message", { data }));
      };
      this.frame = frame;
      this.ready = inner.importScripts(url);
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
