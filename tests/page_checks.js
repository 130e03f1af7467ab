// What tests measure of a page in a browser; the file is one expression, an object of functions.
({
  // What reaches beyond the right edge of the window, after the pixels by which the page is too wide.
  stickingOut() {
    const width = document.documentElement.clientWidth;
    const out = [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > width + 1);
    return [document.documentElement.scrollWidth - width, ...out.map((e) => e.outerHTML.slice(0, 80))];
  },

  // Texts with a contrast below 4.5, and edges of what is filled in below 3 (WCAG 2.2, 1.4.3 and 1.4.11).
  faint() {
    const channels = (color) => { const n = color.match(/[\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
    function behind(element) {
      for (let e = element; e; e = e.parentElement) {
        const color = channels(getComputedStyle(e).backgroundColor);
        if (color[3] === 1) return color;
      }
      return [255, 255, 255];
    }
    function ratio(color, back) {
      const [less, more] = [light(channels(color)), light(back)].sort((x, y) => x - y);
      return (more + 0.05) / (less + 0.05);
    }
    const found = [];
    for (const e of document.querySelectorAll("body *")) {
      if (!e.checkVisibility() || e.closest("svg")) continue;
      const style = getComputedStyle(e), back = behind(e), name = e.outerHTML.slice(0, 80);
      const says = e.value || [...e.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
      if (says && ratio(style.color, back) < 4.5) found.push("text " + name);
      if (e.placeholder && ratio(getComputedStyle(e, "::placeholder").color, back) < 4.5) found.push("placeholder " + name);
      const filled = /^(INPUT|TEXTAREA|SELECT)$/.test(e.tagName);
      if (filled && ratio(style.borderTopColor, behind(e.parentElement)) < 3) found.push("edge " + name);
    }
    return found;
  },

  // What has the focus, and whether it is marked and in the window.
  focused() {
    const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
    const marked = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    const name = e.ariaLabel || e.labels?.[0]?.firstChild.textContent || e.textContent;
    return [name, marked && box.top >= 0 && box.bottom <= innerHeight];
  },
})
