// Classes of a conditional generator. Its rows of numbers are a latent, then a number a class: 1 for
// the class that is asked for, 0 for the others; between two classes both have a share.

function setClass(generator, row, place) {
  // place: 2 is class 2, 2.5 is halfway to class 3.
  const low = Math.min(Math.floor(place), generator.classes.length - 1);
  row.fill(0, generator.noise);
  row[generator.noise + low] = 1 - (place - low);
  if (place > low) row[generator.noise + low + 1] = place - low;
}

function classOf(generator, row) {
  const shares = row.subarray(generator.noise);
  return shares.indexOf(Math.max(...shares));
}

function nameBetween({ classes }, place) {
  const low = Math.floor(place);
  const share = Math.round(100 * (place - low));
  if (share === 0) return classes[low];
  return `${100 - share}% ${classes[low]}, ${share}% ${classes[low + 1]}`;
}

// A button that shows an image, and its canvas.
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

// The present latent in every class, a button each; a click asks for that class.
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
