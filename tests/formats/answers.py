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
5*x**3 + 2*x**2 - x|x|15*x**2 + 4*x - 1
(x**2 + 1)*(x - 3)|x|2*x*(x - 3) + x**2 + 1
x**2/(x + 1)|x|x*(x + 2)/(x + 1)**2
(3*x + 1)**4|x|12*(3*x + 1)**3
sin(x**2)|x|2*x*cos(x**2)
cos(2*x)|x|-2*sin(2*x)
tan(3*x)|x|3/cos(3*x)**2
exp(x**2)|x|2*x*exp(x**2)
log(3*x)|x|1/x
x**2*log(x)|x|2*x*log(x) + x
exp(-x)*sin(x)|x|exp(-x)*(cos(x) - sin(x))
sqrt(x**2 - 1)|x|x/sqrt(x**2 - 1)
1/sqrt(x)|x|-1/(2*x**1.5)
x/(x**2 - 1)|x|-(x**2 + 1)/(x**2 - 1)**2
asin(2*x)|x|2/sqrt(1 - 4*x**2)
atan(1/x)|x|-1/(x**2 + 1)
log(x + sqrt(x**2 + 1))|x|1/sqrt(x**2 + 1)
sinh(2*x)|x|2*cosh(2*x)
tanh(x)**2|x|2*tanh(x)/cosh(x)**2
acos(x)|x|-1/sqrt(1 - x**2)
log(1 - x)|x|-1/(1 - x)
exp(a*x)*cos(b*x)|x|exp(a*x)*(a*cos(b*x) - b*sin(b*x))
sin(x)**3|x|3*sin(x)**2*cos(x)
cos(x)**2|x|-2*sin(x)*cos(x)
(1 + x)/(1 - x)|x|2/(1 - x)**2
x*exp(-x**2/2)|x|(1 - x**2)*exp(-x**2/2)
(exp(x) - exp(-x))/2|x|(exp(x) + exp(-x))/2
log(tan(x))|x|1/(sin(x)*cos(x))
A*sin(w*t + p)|t|A*w*cos(w*t + p)
m*v**2/2|v|m*v
k*q1*q2/r|r|-k*q1*q2/r**2
n*R*T/V|V|-n*R*T/V**2
n*R*T/(V - n*b) - a*n**2/V**2|V|2*a*n**2/V**3 - n*R*T/(V - n*b)**2
N0*exp(-lam*t)|t|-lam*N0*exp(-lam*t)
K/(1 + exp(-r*(t - t0)))|t|K*r*exp(-r*(t - t0))/(1 + exp(-r*(t - t0)))**2
x0 + v0*t + a*t**2/2|t|v0 + a*t
V0*exp(-t/(R*C))|R|V0*t*exp(-t/(R*C))/(R**2*C)
-log(s) - (x - m)**2/(2*s**2)|s|(x - m)**2/s**3 - 1/s
k*log(l) - l - lgamma(k + 1)|l|k/l - 1
a*log(p) + b*log(1 - p)|p|a/p - b/(1 - p)
lgamma(a + b) - lgamma(a) - lgamma(b)|a|digamma(a + b) - digamma(a)
l*exp(-l*x)|l|(1 - l*x)*exp(-l*x)
log(1 + exp(x))|x|exp(x)/(1 + exp(x))
(y - sigmoid(x))**2|x|-2*(y - sigmoid(x))*sigmoid(x)*sigmoid(-x)
w**2*l/2 + (y - w*x)**2/2|w|l*w - x*(y - w*x)
(w1*x1 + w2*x2 - y)**2|w1|2*x1*(w1*x1 + w2*x2 - y)
sqrt((x - a)**2 + (y - b)**2)|x|(x - a)/sqrt((x - a)**2 + (y - b)**2)
1/sqrt(x**2 + y**2)|x|-x/(x**2 + y**2)**1.5
x*y*z|y|x*z
x**2*y + x*y**2|x|2*x*y + y**2
exp(x*y)|x|y*exp(x*y)
log(x/y)|y|-1/y
x*sin(1/x)|x|sin(1/x) - cos(1/x)/x
erf(x/sqrt(2))/2|x|exp(-x**2/2)/sqrt(2*pi)
S*exp(-q*T)*erfc(-d/sqrt(2))/2|q|-S*T*exp(-q*T)*erfc(-d/sqrt(2))/2
G*M/r - l**2/(2*m*r**2)|r|l**2/(m*r**3) - G*M/r**2
mu0*I1/(2*pi*r)|r|-mu0*I1/(2*pi*r**2)
Q*(1 - T2/T1)|T1|Q*T2/T1**2
1/(1/f1 + 1/f2)|f1|f2**2/(f1 + f2)**2
sin(x)/(1 + cos(x))|x|1/(1 + cos(x))
sinh(x)/(1 + cosh(x))|x|1/(1 + cosh(x))
tan(x)**2|x|2*tan(x)/cos(x)**2
tan(x) - x|x|tan(x)**2
log(1 - sigmoid(z))|z|-sigmoid(z)
-y*log(sigmoid(z)) - (1 - y)*log(1 - sigmoid(z))|z|sigmoid(z) - y
log((1 + x)/(1 - x))|x|2/(1 - x**2)
(a*x + b)/(c*x + d)|x|(a*d - b*c)/(c*x + d)**2
m*c**2/sqrt(1 - v**2/c**2)|v|m*v/(1 - v**2/c**2)**1.5
k*q*x/(x**2 + R**2)**1.5|x|k*q*(R**2 - 2*x**2)/(x**2 + R**2)**2.5
4*e*((s/r)**12 - (s/r)**6)|r|4*e*(6*s**6/r**7 - 12*s**12/r**13)
D*(1 - exp(-a*(r - r0)))**2|r|2*D*a*(1 - exp(-a*(r - r0)))*exp(-a*(r - r0))
1/(exp((E - mu)/(k*T)) + 1)|E|-exp((E - mu)/(k*T))/(k*T*(exp((E - mu)/(k*T)) + 1)**2)
A*exp(-b*t)*cos(w*t)|t|-A*exp(-b*t)*(b*cos(w*t) + w*sin(w*t))
Vm*S/(Km*(1 + I/Ki) + S)|I|-Vm*Km*S/(Ki*(Km*(1 + I/Ki) + S)**2)
exp(-(x - m)**2/(2*s**2))/(s*sqrt(2*pi))|s|((x - m)**2 - s**2)*exp(-(x - m)**2/(2*s**2))/(s**4*sqrt(2*pi))
log(1 + (x/s)**2/n)|x|2*x/(n*s**2 + x**2)
(x - a)*(a - x)|x|-2*(x - a)
-x*y - x*z|x|-y - z
y/(x > 0)|y|1/(x > 0)
x*min(1, 2, 3)|x|min(1, 2, 3)
"""

CASES = [tuple(line.split("|")) for line in ANSWERS.splitlines()]
