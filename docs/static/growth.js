/* A slider over pictures that lie on the page; without this script they stand one below the other. */
for (const figure of document.querySelectorAll(".growth")) {
  const stages = [...figure.querySelectorAll(".stage")];
  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", min: 0, max: stages.length - 1, value: 0 });
  slider.setAttribute("aria-label", "online steps");
  const show = () => {
    stages.forEach((stage, index) => (stage.hidden = index != slider.value));
    slider.setAttribute("aria-valuetext", stages[slider.value].querySelector("figcaption").textContent);
  };
  slider.addEventListener("input", show);
  figure.append(slider);
  show();
}
