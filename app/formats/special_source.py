"""The source of functions that languages lack, for networks written as source code: erf, erfc, lgamma, digamma and sigmoid.

Each entry is the source of a function and the names of the others that it needs.
"""

from collections.abc import Mapping

Special = Mapping[str, tuple[str, tuple[str, ...]]]

NUMPY_SPECIAL: Special = {
    "erf": ("erf = np.vectorize(math.erf, otypes=[float])", ()),
    "erfc": ("erfc = np.vectorize(math.erfc, otypes=[float])", ()),
    "lgamma": ("lgamma = np.vectorize(math.lgamma, otypes=[float])", ()),
    "digamma": (
        '''
def _digamma(x):
    """The derivative of lgamma: by reflection for x < 0.5, else by its asymptotic series from 10 on."""
    if x <= 0.0 and x == math.floor(x):
        return math.nan
    if x < 0.5:
        return _digamma(1.0 - x) - math.pi / math.tan(math.pi * x)
    total = 0.0
    while x < 10.0:
        total -= 1.0 / x
        x += 1.0
    s = 1.0 / (x * x)
    series = s * (1 / 12 - s * (1 / 120 - s * (1 / 252 - s * (1 / 240 - s * (1 / 132 - s * (691 / 32760 - s / 12))))))
    return total + math.log(x) - 0.5 / x - series


digamma = np.vectorize(_digamma, otypes=[float])
''',
        (),
    ),
}

C_SPECIAL: Special = {
    "sigmoid": (
        """
static double sigmoid(double x) {
    double t = exp(-fabs(x));
    return (x >= 0.0 ? 1.0 : t) / (1.0 + t);
}
""",
        (),
    ),
    "digamma": (
        """
/* The derivative of lgamma: by reflection for x < 0.5, else by its asymptotic series from 10 on. */
static double digamma(double x) {
    double total = 0.0;
    if (x <= 0.0 && x == floor(x)) {
        return NAN;
    }
    if (x < 0.5) {
        total = -3.141592653589793 / tan(3.141592653589793 * x);
        x = 1.0 - x;
    }
    for (; x < 10.0; x += 1.0) {
        total -= 1.0 / x;
    }
    double s = 1.0 / (x * x);
    double series = s * (1.0 / 12.0 - s * (1.0 / 120.0 - s * (1.0 / 252.0 - s * (1.0 / 240.0
        - s * (1.0 / 132.0 - s * (691.0 / 32760.0 - s / 12.0))))));
    return total + log(x) - 0.5 / x - series;
}
""",
        (),
    ),
}

JAVASCRIPT_SPECIAL: Special = {
    "sigmoid": (
        """
function sigmoid(x) {
  const t = Math.exp(-Math.abs(x));
  return (x >= 0 ? 1 : t) / (1 + t);
}
""",
        (),
    ),
    "erfc": (
        """
// 1 - erf(x): by the series of erf for small x, else by a continued fraction.
function erfc(x) {
  if (x < 2) return 1 - erf(x);
  if (x > 28) return 0;
  let fraction = 0;
  for (let k = 120; k > 0; k--) fraction = k / 2 / (x + fraction);
  return Math.exp(-x * x) / (Math.sqrt(Math.PI) * (x + fraction));
}
""",
        ("erf",),
    ),
    "erf": (
        """
// 2/sqrt(pi)*exp(-x*x) times the sum of 2**k*x**(2*k + 1)/(1*3*...*(2*k + 1)), whose terms have one sign.
function erf(x) {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let k = 1; Math.abs(term) > 1e-17 * Math.abs(sum); k++) {
    term *= (2 * x * x) / (2 * k + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}
""",
        (),
    ),
    "lgamma": (
        """
// log(abs(gamma(x))): by reflection for x < 0.5, else by Stirling's series from 10 on.
function lgamma(x) {
  if (x <= 0 && x === Math.floor(x)) return Infinity;
  if (x < 0.5) return Math.log(Math.PI / Math.abs(Math.sin(Math.PI * x))) - lgamma(1 - x);
  let product = 1;
  for (; x < 10; x++) product *= x;
  const s = 1 / (x * x);
  const series = (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s * (1 / 1188 - (s * 691) / 360360))))) / x;
  return (x - 0.5) * Math.log(x) - x + 0.5 * Math.log(2 * Math.PI) + series - Math.log(product);
}
""",
        (),
    ),
    "digamma": (
        """
// The derivative of lgamma: by reflection for x < 0.5, else by its asymptotic series from 10 on.
function digamma(x) {
  if (x <= 0 && x === Math.floor(x)) return NaN;
  if (x < 0.5) return digamma(1 - x) - Math.PI / Math.tan(Math.PI * x);
  let total = 0;
  for (; x < 10; x++) total -= 1 / x;
  const s = 1 / (x * x);
  const series = s * (1 / 12 - s * (1 / 120 - s * (1 / 252 - s * (1 / 240 - s * (1 / 132 - s * (691 / 32760 - s / 12))))));
  return total + Math.log(x) - 0.5 / x - series;
}
""",
        (),
    ),
}
