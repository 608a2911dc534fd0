// Classes of a conditional generator. Its input rows are a latent followed by a weight for each
// class: 1 for a single class, or two weights to interpolate between two classes.

function setClass(generator, row, position) {
  // position: 2 is class 2, 2.5 is halfway to class 3.
  const low = Math.min(Math.floor(position), generator.classes.length - 1);
  row.fill(0, generator.latentSize);
  row[generator.latentSize + low] = 1 - (position - low);
  if (position > low) row[generator.latentSize + low + 1] = position - low;
}

function classOf(generator, row) {
  const weights = row.subarray(generator.latentSize);
  return weights.indexOf(Math.max(...weights));
}

function nameBetween({ classes }, position) {
  const low = Math.floor(position);
  const share = Math.round(100 * (position - low));
  if (share === 0) return classes[low];
  return `${100 - share}% ${classes[low]}, ${share}% ${classes[low + 1]}`;
}

// A button with a canvas for an image; returns both.
function pictureButton(generator, click) {
  const button = document.createElement("button");
  button.type = "button";
  button.addEventListener("click", click);
  const canvas = document.createElement("canvas");
  canvas.className = "pixels";
  [canvas.height, canvas.width] = generator.shape.slice(1);
  button.append(canvas);
  return [button, canvas];
}

// A button for each class with the current latent's image in it; `choose(label)` handles clicks.
class ClassRow {
  constructor(generator, choose) {
    this.generator = generator;
    this.canvases = generator.classes.map((name, label) => {
      const [button, canvas] = pictureButton(generator, () => choose(label));
      const words = document.createElement("span");
      words.textContent = name;
      button.append(words);
      find("classes").append(button);
      return canvas;
    });
  }

  show(latent) {
    const { generator } = this;
    this.canvases.forEach((canvas, label) => {
      const row = latent.slice();
      setClass(generator, row, label);
      draw(canvas, generator.images(row), generator.shape);
    });
  }
}
