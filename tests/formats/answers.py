"""Derivatives as a person writes them: the expression, the name to differentiate by, and the answer."""

ANSWERS = """\
x**2|x|2*x
3*x**4 - 2*x + 7|x|12*x**3 - 2
exp(2*x)|x|2*exp(2*x)
x**2*sin(y)|y|x**2*cos(y)
a*exp(-b*t)|b|-a*t*exp(-b*t)
(x - m)**2/(2*s**2)|x|(x - m)/s**2
1/(1 + x)|x|-1/(1 + x)**2
tanh(w*x + b)|b|1 - tanh(w*x + b)**2
log(1 + x**2)|x|2*x/(1 + x**2)
x*exp(x)|x|(1 + x)*exp(x)
sin(x)/x|x|(x*cos(x) - sin(x))/x**2
x/(1 + x**2)|x|(1 - x**2)/(1 + x**2)**2
(x + 1)/(x - 1)|x|-2/(x - 1)**2
(x**2 + 1)/(x**2 - 1)|x|-4*x/(x**2 - 1)**2
x*log(x)|x|log(x) + 1
log(x)/x|x|(1 - log(x))/x**2
sqrt(x)|x|1/(2*sqrt(x))
sqrt(1 + x**2)|x|x/sqrt(1 + x**2)
x*sqrt(x)|x|3*sqrt(x)/2
x/sqrt(1 + x**2)|x|1/(1 + x**2)**1.5
sin(x)*cos(x)|x|cos(x)**2 - sin(x)**2
sin(x)**2|x|2*sin(x)*cos(x)
log(sin(x))|x|cos(x)/sin(x)
log(cos(x))|x|-tan(x)
log(cosh(x))|x|tanh(x)
tan(x)|x|1/cos(x)**2
atan(y/x)|x|-y/(x**2 + y**2)
atan(y/x)|y|x/(x**2 + y**2)
asin(x)|x|1/sqrt(1 - x**2)
exp(-x**2)|x|-2*x*exp(-x**2)
exp(-(x - m)**2/(2*s**2))|x|-(x - m)/s**2*exp(-(x - m)**2/(2*s**2))
exp(-(x - m)**2/(2*s**2))|s|(x - m)**2/s**3*exp(-(x - m)**2/(2*s**2))
exp(-x**2/2)/sqrt(2*pi)|x|-x*exp(-x**2/2)/sqrt(2*pi)
1/(1 + exp(-x))|x|exp(-x)/(1 + exp(-x))**2
exp(x)/(1 + exp(x))|x|exp(x)/(1 + exp(x))**2
sigmoid(w*x + b)|b|sigmoid(w*x + b)*(1 - sigmoid(w*x + b))
softplus(x)|x|sigmoid(x)
relu(w*x + b)|w|x if w*x + b > 0 else 0
relu(x)|x|x > 0
abs(x)|x|sign(x)
abs(x - y)|y|-sign(x - y)
max(x, 0)|x|(1 + sign(x))/2
where(x > 0, x**2, 0)|x|2*x if x > 0 else 0
where(x > 0, log(x), 0)|x|1/x if x > 0 else 0
(y - a*x)**2|a|-2*x*(y - a*x)
x**3/3|x|x**2
2**x|x|2**x*log(2)
x**y|y|x**y*log(x) if x else 0
x**y|x|0 if (x == 0)*(y == 0) else y*x**(y - 1)
x**x|x|x**x*(log(x) + 1) if x else 0
erf(x)|x|2*exp(-x**2)/sqrt(pi)
log(log(x))|x|1/(x*log(x))
log10(x)|x|1/(x*log(10))
h = tanh(w*x + b); (h - y)**2|w|h = tanh(w*x + b); 2*x*(h - y)*(1 - h**2)
cos(3*x + 2)|x|-3*sin(3*x + 2)
x**2*exp(-x)|x|x*(2 - x)*exp(-x)
(2*x + 3)**5|x|10*(2*x + 3)**4
a*x**2 + b*x + c|x|2*a*x + b
V/I*cos(phi)|I|-V/I**2*cos(phi)
b1*(1 - exp(-b2*x))|b2|b1*x*exp(-b2*x)
Vmax*S/(Km + S)|S|Vmax*Km/(Km + S)**2
Vmax*S/(Km + S)|Km|-Vmax*S/(Km + S)**2
exp(sin(x))|x|cos(x)*exp(sin(x))
x**0.5|x|0.5/x**0.5
sinh(x)**2|x|2*sinh(x)*cosh(x)
atan(x)|x|1/(1 + x**2)
acosh(x)|x|1/sqrt(x**2 - 1)
(x**2 + y**2)**0.5|x|x/(x**2 + y**2)**0.5
log(x**2 + y**2)|x|2*x/(x**2 + y**2)
exp(x)*sin(x)|x|(sin(x) + cos(x))*exp(x)
1/x**2|x|-2/x**3
x*y + sin(x)|x|y + cos(x)
clip = min(max(x, 0), 1); clip*y|y|min(max(x, 0), 1)
(1 - x)**2 + 100*(y - x**2)**2|x|-2*(1 - x) - 400*x*(y - x**2)
log(1 + exp(-y*w*x))|w|-x*y*exp(-y*w*x)/(1 + exp(-y*w*x))
r*x*(1 - x/K)|x|r*(1 - 2*x/K)
4*e*((s/r)**12 - (s/r)**6)|r|4*e*(6*(s/r)**6 - 12*(s/r)**12)/r
G*m1*m2/r**2|r|-2*G*m1*m2/r**3
sqrt(x**2 + y**2)|x|x/sqrt(x**2 + y**2)
log(a*x)|x|1/x
x**2.5|x|2.5*x**1.5
"""

CASES = [tuple(line.split("|")) for line in ANSWERS.splitlines()]
