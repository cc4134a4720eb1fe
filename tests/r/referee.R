# The referee of the statistics tests: reads cases from a JSON file, answers in another.
# Debian: r-base-core r-cran-jsonlite r-cran-lme4 r-cran-sandwich r-cran-pwr r-cran-fbasics r-cran-mass
#   r-cran-lmtest r-cran-car r-cran-boot; where they are installed, r-cran-bayesfactor, r-cran-mice,
#   r-cran-metafor and r-cran-lmertest have to agree with the formulas (.ci/run installs them)
suppressPackageStartupMessages({
  library(jsonlite); library(lme4); library(sandwich); library(pwr); library(MASS)
})

# Whether a package is there; a formula of a paper and the package that people use have to agree.
has <- function(package) requireNamespace(package, quietly = TRUE)
agree <- function(ours, theirs, tolerance) {
  same <- all.equal(unname(unlist(ours)), unname(unlist(theirs)), tolerance = tolerance)
  if (!isTRUE(same)) stop(paste(deparse(substitute(theirs)), same))
}

linear <- function(case, data) {
  fit <- lm(as.formula(case$formula), data = data)
  known <- coef(fit)
  table <- coef(summary(fit))
  rows <- match(names(known), rownames(table))
  limits <- confint(fit)
  hc3 <- tryCatch(sqrt(diag(vcovHC(fit, type = "HC3"))), error = function(e) NULL)
  list(
    terms = names(known), coefficient = unname(known), standard_error = table[rows, 2],
    p = table[rows, 4], ci_low = limits[, 1], ci_high = limits[, 2], n = nobs(fit),
    r_squared = summary(fit)$r.squared, adjusted_r_squared = summary(fit)$adj.r.squared,
    residual_sd = summary(fit)$sigma, hc3 = unname(hc3), cooks = unname(cooks.distance(fit)),
    leverage = unname(hatvalues(fit))
  )
}

diagnostics <- function(case, data) {
  fit <- lm(as.formula(case$formula), data = data)
  list(bp = unname(lmtest::bptest(fit)$p.value),
       reset = unname(lmtest::resettest(fit, power = 2:3, type = "fitted")$p.value),
       vif = unname(car::vif(fit)))
}

logistic <- function(case, data) {
  fit <- glm(as.formula(case$formula), data = data, family = binomial(),
             control = glm.control(epsilon = 1e-14))
  table <- coef(summary(fit))
  list(terms = rownames(table), coefficient = table[, 1], standard_error = table[, 2],
       p = table[, 4])
}

# The same logistic model again: robust errors, without each row, and Potter's permutation.
logistic_again <- function(case, data) {
  formula <- as.formula(case$formula)
  fit <- function(rows) glm(formula, data = data[rows, ], family = binomial(),
                            control = glm.control(epsilon = 1e-14))
  whole <- fit(seq_len(nrow(data)))
  without <- sapply(seq_len(nrow(data)), function(row) coef(summary(fit(-row)))[2, c(1, 4)])
  x <- model.matrix(whole)
  others <- x[, -2, drop = FALSE]
  own <- resid(lm.fit(others, x[, 2]))
  null <- deviance(glm.fit(others, whole$y, family = binomial()))
  set.seed(1)
  explained <- replicate(1000, null - deviance(
    suppressWarnings(glm.fit(cbind(others, sample(own)), whole$y, family = binomial()))))
  list(hc3 = unname(sqrt(diag(vcovHC(whole, type = "HC3")))), coefficient = without[1, ],
       p = without[2, ], permutation = mean(explained >= null - deviance(whole)))
}

# Interval of a coefficient by the package boot, all cases drawn.
bca <- function(case, data) {
  formula <- as.formula(case$formula)
  estimate <- function(data, rows) {
    if (case$family == "binomial") coef(suppressWarnings(glm(formula, binomial(), data[rows, ])))[2]
    else coef(suppressWarnings(rlm(formula, data[rows, ], maxit = 200)))[2]
  }
  set.seed(1)
  drawn <- boot::boot(data, estimate, R = 1500)
  list(interval = boot::boot.ci(drawn, type = "bca")$bca[4:5], spread = sd(drawn$t))
}

huber <- function(case, data) {
  fit <- rlm(as.formula(case$formula), data = data, maxit = 5000, acc = 1e-14)
  list(terms = names(coef(fit)), coefficient = unname(coef(fit)))
}

# Counts in proportion to an exposure: Poisson with HC3, negative binomial by MASS.
counts <- function(case, data) {
  formula <- as.formula(case$formula)
  known <- function(fit) {
    table <- coef(summary(fit))
    list(terms = rownames(table), coefficient = table[, 1], standard_error = table[, 2],
         p = table[, 4])
  }
  poisson <- glm(formula, poisson(), data, control = glm.control(epsilon = 1e-14))
  negative <- glm.nb(formula, data, control = glm.control(epsilon = 1e-12, maxit = 200))
  list(poisson = known(poisson), hc3 = unname(sqrt(diag(vcovHC(poisson, type = "HC3")))),
       pearson = sum(residuals(poisson, "pearson")^2),
       negative = known(negative), theta = negative$theta)
}

# Proportional odds by MASS, and the test of Brant (1990) by its formulas, with the covariance under
# one odds ratio.
ordered_levels <- function(case, data) {
  formula <- as.formula(case$formula)
  outcome <- all.vars(formula)[1]
  values <- data[[outcome]]
  data[[outcome]] <- ordered(values)
  fit <- polr(formula, data, Hess = TRUE, control = list(reltol = 1e-15, maxit = 1000))
  slopes <- names(coef(fit))
  x <- model.matrix(formula, transform(data, y = 0))
  cuts <- case$cuts
  binary <- lapply(cuts, function(cut) glm.fit(x, as.numeric(values > cut), family = binomial(),
                                               control = glm.control(epsilon = 1e-14)))
  p <- ncol(x) - 1
  chances <- lapply(cuts, function(cut) plogis(drop(
    x[, -1, drop = FALSE] %*% coef(fit)) - fit$zeta[match(cut, sort(unique(values)))]))
  inverse <- lapply(chances, function(c) solve(t(x) %*% (x * c * (1 - c))))
  covariance <- matrix(0, p * length(cuts), p * length(cuts))
  for (i in seq_along(cuts)) for (j in seq_along(cuts)) {
    a <- min(i, j); b <- max(i, j)
    w <- chances[[b]] - chances[[a]] * chances[[b]]
    covariance[(i - 1) * p + 1:p, (j - 1) * p + 1:p] <-
      (inverse[[i]] %*% (t(x) %*% (x * w)) %*% inverse[[j]])[-1, -1]
  }
  b <- unlist(lapply(binary, function(fit) fit$coefficients[-1]))
  m <- length(cuts) - 1
  against <- cbind(do.call(rbind, rep(list(-diag(p)), m)), diag(p * m))
  difference <- against %*% b
  statistic <- t(difference) %*% solve(against %*% covariance %*% t(against), difference)
  list(terms = slopes, coefficient = unname(coef(fit)),
       standard_error = unname(sqrt(diag(vcov(fit)))[slopes]), thresholds = unname(fit$zeta),
       brant = pchisq(statistic[1], length(difference), lower.tail = FALSE))
}

# Rubin's rules with Barnard and Rubin's degrees of freedom, by the formulas of their papers.
pooled <- function(case, data) {
  m <- nrow(data)
  ubar <- mean(data$error^2); b <- var(data$estimate); t <- ubar + (1 + 1 / m) * b
  lambda <- (1 + 1 / m) * b / t
  old <- (m - 1) / lambda^2
  observed <- (case$df + 1) / (case$df + 3) * case$df * (1 - lambda)
  df <- old * observed / (old + observed)
  r <- (1 + 1 / m) * b / ubar
  answer <- list(estimate = mean(data$estimate), error = sqrt(t), df = df,
                 fraction = (r + 2 / (df + 3)) / (r + 1))
  if (has("mice")) {
    package <- mice::pool.scalar(data$estimate, data$error^2, n = case$df + 2, k = 2)
    agree(answer, list(package$qbar, sqrt(package$t), package$df, package$fmi), 1e-10)
  }
  answer
}

# Chained equations by mice: what is filled, fitted and pooled by the package alone.
filled <- function(case, data) {
  if (!has("mice")) return(list(missing = "mice"))
  made <- mice::mice(data, m = case$m, maxit = case$cycles, method = "norm", seed = 1,
                     printFlag = FALSE)
  fits <- lapply(seq_len(case$m), function(i)
    summary(lm(as.formula(case$formula), mice::complete(made, i))))
  terms <- rownames(coef(fits[[1]]))
  pool <- lapply(terms, function(term) mice::pool.scalar(
    sapply(fits, function(fit) coef(fit)[term, 1]), sapply(fits, function(fit) coef(fit)[term, 2])^2,
    n = nrow(data), k = length(terms)))
  part <- function(name) sapply(pool, function(one) one[[name]])
  list(terms = terms, estimate = part("qbar"), error = sqrt(part("t")), df = part("df"),
       fraction = part("fmi"), between = part("b"))
}

# Random-effects meta-analysis: Paule & Mandel by their equation, Hartung & Knapp's error.
meta <- function(case, data) {
  b <- data$effect; v <- data$error^2; k <- length(b)
  q <- function(tau2) { w <- 1 / (v + tau2); sum(w * (b - weighted.mean(b, w))^2) }
  tau2 <- if (q(0) <= k - 1) 0 else uniroot(function(t) q(t) - (k - 1), c(0, var(b)), tol = 1e-15)$root
  w <- 1 / (v + tau2); mean <- weighted.mean(b, w)
  error <- sqrt(sum(w * (b - mean)^2) / (k - 1) / sum(w))
  if (has("metafor")) {
    package <- metafor::rma(b, v, method = "PM", test = "knha",
                            control = list(tol = 1e-13, maxiter = 1000))
    agree(c(mean, error, sqrt(tau2)), c(package$b, package$se, sqrt(package$tau2)), 1e-6)
    agree(mean + c(-1, 1) * qt(0.975, k - 1) * error, c(package$ci.lb, package$ci.ub), 1e-6)
  }
  list(effect = mean, error = error, tau = sqrt(tau2),
       i_squared = max(0, 1 - (k - 1) / q(0)), p = pchisq(q(0), k - 1, lower.tail = FALSE))
}

# The same with predictors: the formulas again, in matrices.
meta_regression <- function(case, data) {
  x <- model.matrix(as.formula(case$formula), data)
  y <- model.response(model.frame(as.formula(case$formula), data)); v <- data$error^2
  df <- length(y) - ncol(x)
  q <- function(tau2) sum(lm.wfit(x, y, 1 / (v + tau2))$residuals^2 / (v + tau2))
  tau2 <- if (q(0) <= df) 0 else uniroot(function(t) q(t) - df, c(0, 10 * var(y)), tol = 1e-15)$root
  w <- 1 / (v + tau2)
  estimate <- unname(lm.wfit(x, y, w)$coefficients)
  error <- sqrt(q(tau2) / df * unname(diag(solve(crossprod(x, w * x)))))
  if (has("metafor")) {
    package <- metafor::rma(y, v, mods = x, intercept = FALSE, method = "PM", test = "knha",
                            control = list(tol = 1e-13, maxiter = 1000))
    agree(c(estimate, error, sqrt(tau2)), c(package$beta, package$se, sqrt(package$tau2)), 1e-6)
    agree(pchisq(q(0), df, lower.tail = FALSE), package$QEp, 1e-6)
  }
  list(terms = colnames(x), coefficient = estimate, standard_error = error, tau = sqrt(tau2),
       p = 2 * pt(-abs(estimate / error), df), heterogeneity = pchisq(q(0), df, lower.tail = FALSE))
}

normality <- function(case, data) {
  values <- data[[case$variable]]
  test <- fBasics::dagoTest(values)@test
  w <- shapiro.test(values)
  list(k_squared = unname(test$statistic), p = unname(test$p.value),
       w = unname(w$statistic), p_shapiro = w$p.value)
}

power <- function(case, data) {
  list(r = pwr.r.test(n = case$n, power = 0.8, sig.level = 0.05)$r,
       n = pwr.r.test(r = case$r, power = 0.8, sig.level = 0.05)$n,
       power = pwr.r.test(n = case$n, r = case$r, sig.level = 0.05)$power)
}

mixed <- function(case, data) {
  # do.call puts the table itself into the call, where pbkrtest looks for it.
  fit <- do.call(lmer, list(as.formula(case$formula), data = data, REML = TRUE,
    control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10))))
  p <- NULL
  if (has("lmerTest")) p <- unname(coef(summary(lmerTest::as_lmerModLmerTest(fit)))[, "Pr(>|t|)"])
  list(terms = names(fixef(fit)), coefficient = unname(fixef(fit)), p = p,
       standard_error = unname(sqrt(diag(as.matrix(vcov(fit))))),
       random = as.data.frame(VarCorr(fit))[is.na(as.data.frame(VarCorr(fit))$var2), "sdcor"],
       # pbkrtest (which car needs) has Satterthwaite's degrees of freedom as lmerTest computes them.
       df = sapply(seq_along(fixef(fit)), function(i)
         pbkrtest::SATmodcomp(fit, diag(length(fixef(fit)))[i, , drop = FALSE])$test$ddf[1]),
       log_likelihood = as.numeric(logLik(fit)))
}

# Bayes factors from their definitions: the JZS one as an integral over g on its own scale, that of a
# correlation over the exact density of r (Fisher 1915) under the stretched beta prior.
jzs <- function(n, p, r_squared, scale) {
  if (p == 0) return(1)
  rate <- n * scale^2 / 2
  integrand <- function(g) exp(
    ((n - p - 1) * log1p(g) - (n - 1) * log1p(g * (1 - r_squared))) / 2 +
      log(rate) / 2 - lgamma(0.5) - 1.5 * log(g) - rate / g)
  cuts <- c(0, 10^(-2:4), Inf)
  sum(sapply(seq_along(cuts[-1]), function(i)
    integrate(integrand, cuts[i], cuts[i + 1], rel.tol = 1e-10)$value))
}

exact_r <- function(n, r, width) {
  inner <- function(x) integrate(function(w) (cosh(w) - x)^(1 - n) * (1 - x)^(n - 1), 0, 30,
                                 rel.tol = 1e-10)$value
  ratio <- function(rho) sapply(rho, function(rho)
    (1 - rho^2)^((n - 1) / 2) * inner(rho * r) * (1 - rho * r)^(1 - n) / inner(0) *
      dbeta((rho + 1) / 2, 1 / width, 1 / width) / 2)
  integrate(ratio, -1, 1, rel.tol = 1e-8, subdivisions = 400)$value
}

bayes <- function(case, data) {
  full <- summary(lm(as.formula(case$formula), data = data))$r.squared
  without <- summary(lm(as.formula(case$without), data = data))$r.squared
  terms <- length(attr(terms(as.formula(case$formula)), "term.labels"))
  n <- nrow(data)
  answer <- list(full = jzs(n, terms, full, case$scale),
                 coefficient = jzs(n, terms, full, case$scale) / jzs(n, terms - 1, without, case$scale))
  if (requireNamespace("BayesFactor", quietly = TRUE)) {
    package <- BayesFactor::linearReg.R2stat(n, terms, full, case$scale, simple = TRUE)
    stopifnot(isTRUE(all.equal(answer$full, unname(package), tolerance = 1e-3)))
  }
  answer
}

correlation <- function(case, data) {
  bound <- atanh(case$bound)
  z <- atanh(case$r)
  error <- 1 / sqrt(case$n - 3)
  list(bf10 = exact_r(case$n, case$r, case$width),
       tost = max(pnorm((z - bound) / error), pnorm((z + bound) / error, lower.tail = FALSE)),
       interval = tanh(z + c(-1, 1) * qnorm(0.975) * error))
}

# Evidence for a coefficient of any model: from the model as R fits it, what a coefficient of z = 1 is
# (Nakagawa et al. 2017), both one-sided tests against r, and the Bayes factor under a Cauchy prior.
any_family <- function(case, data) {
  formula <- as.formula(case$formula)
  term <- case$term
  if (case$model == "ordinal") {
    outcome <- all.vars(formula)[1]
    levels <- data[[outcome]]
    data[[outcome]] <- ordered(levels)
  }
  fit <- switch(case$model,
    logistic = glm(formula, binomial(), data, control = glm.control(epsilon = 1e-14)),
    poisson = , hc3_poisson = glm(formula, poisson(), data, control = glm.control(epsilon = 1e-14)),
    negative = glm.nb(formula, data, control = glm.control(epsilon = 1e-12, maxit = 200)),
    ordinal = polr(formula, data, Hess = TRUE, control = list(reltol = 1e-15, maxit = 1000)),
    hc3 = lm(formula, data), huber = rlm(formula, data, maxit = 5000, acc = 1e-14))
  if (case$model == "ordinal") data[[outcome]] <- levels
  y <- model.response(model.frame(formula, data))
  spread <- switch(case$model,
    logistic = , ordinal = pi / sqrt(3),
    poisson = sqrt(log(1 + 1 / mean(y))),
    hc3_poisson = sqrt(log(1 + sum(residuals(fit, "pearson")^2) / fit$df.residual / mean(y))),
    negative = sqrt(log(1 + 1 / mean(y) + 1 / fit$theta)),
    hc3 = sqrt(mean(residuals(fit)^2)), huber = fit$s)
  x <- model.matrix(formula, data)
  own <- residuals(lm(x[, term] ~ x[, colnames(x) != term] - 1))
  one <- spread / sqrt(mean(own^2))
  b <- unname(coef(fit)[term])
  se <- if (case$model %in% c("hc3", "hc3_poisson")) sqrt(diag(vcovHC(fit, type = "HC3")))[term]
        else if (case$model == "huber") case$error else sqrt(diag(vcov(fit)))[term]
  below <- function(t) if (case$model == "hc3") pt(t, fit$df.residual) else pnorm(t)
  bound <- one * case$r / sqrt(1 - case$r^2)
  half <- if (case$model == "hc3") qt(0.975, fit$df.residual) * se else qnorm(0.975) * se
  wide <- half / qnorm(0.975)
  with <- integrate(function(beta) dnorm(b, beta, wide) * dcauchy(beta, 0, case$scale * one),
                    b - 40 * wide, b + 40 * wide, rel.tol = 1e-11, subdivisions = 2000)$value
  list(one = one, r = sin(atan(b / one)), bound = bound, bf10 = with / dnorm(b, 0, wide),
       tost = unname(max(below((b - bound) / se), 1 - below((b + bound) / se))),
       interval = unname(sin(atan((b + c(-1, 1) * half) / one))))
}

# The example of the manual of BayesFactor: ratings of 30 departments.
attitude <- function(case, data) {
  data("attitude", package = "datasets", envir = environment())
  list(r_squared = summary(lm(rating ~ complaints, data = attitude))$r.squared)
}

adjusted <- function(case, data) {
  list(holm = p.adjust(data$p, "holm"), fdr = p.adjust(data$p, "BH"))
}

# Two-way random effects of scans and readers: variances by REML, mean squares by aov.
readers <- function(case, data) {
  data$scan <- factor(data$scan); data$reader <- factor(data$reader)
  fit <- lmer(value ~ 1 + (1 | scan) + (1 | reader), data = data,
              control = lmerControl(optCtrl = list(xtol_rel = 1e-12, ftol_abs = 1e-14)))
  parts <- as.data.frame(VarCorr(fit))
  variance <- setNames(parts$vcov, parts$grp)
  squares <- summary(aov(value ~ scan + reader, data = data))[[1]][["Mean Sq"]]
  list(icc = variance[["scan"]] / sum(variance), squares = squares)
}

answered <- function(asked) {
  cases <- fromJSON(asked$cases, simplifyDataFrame = FALSE, simplifyMatrix = FALSE)
  answers <- lapply(cases, function(case) {
    data <- if (is.null(case$data)) NULL else read.csv(case$data, stringsAsFactors = TRUE)
    get(case$kind)(case, data)
  })
  write(toJSON(answers, digits = NA, na = "null", auto_unbox = TRUE, null = "null"), asked$answers)
  "done"
}

# One process answers a whole test run, a line a question: loading packages takes seconds.
input <- file("stdin", "r")
while (length(line <- readLines(input, n = 1)) > 0) {
  status <- tryCatch(answered(fromJSON(line)), error = function(e) conditionMessage(e))
  cat(toJSON(list(referee = status), auto_unbox = TRUE), "\n", sep = "")
  flush(stdout())
}
