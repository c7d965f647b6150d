/* hsv.c — hue, saturation and value of a colour and back, as skimage.color.rgb2hsv and hsv2rgb. */
#include <math.h>

#include <smalti/image.h>

void sm_rgb_to_hsv(const double rgb[3], double hsv[3]) {
  const double red = rgb[0], green = rgb[1], blue = rgb[2], high = fmax(red, fmax(green, blue)),
               reach = high - fmin(red, fmin(green, blue));
  double hue = 0;
  if (reach > 0) {
    if (blue == high) hue = 4 + (red - green) / reach;
    else if (green == high) hue = 2 + (blue - red) / reach;
    else hue = (green - blue) / reach;
    hue /= 6;
  }
  hsv[0] = hue - floor(hue);
  hsv[1] = reach > 0 ? reach / high : 0;
  hsv[2] = high;
}

void sm_hsv_to_rgb(const double hsv[3], double rgb[3]) {
  const double s = hsv[1], v = hsv[2], sixth = floor(hsv[0] * 6), f = hsv[0] * 6 - sixth;
  const double p = v * (1 - s), q = v * (1 - f * s), t = v * (1 - (1 - f) * s);
  const double of[6][3] = {{v, t, p}, {q, v, p}, {p, v, t}, {p, q, v}, {t, p, v}, {v, p, q}};
  for (int k = 0; k < 3; k++) rgb[k] = of[(int)sixth % 6][k];
}
