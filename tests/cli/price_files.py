"""Files of prices, one to begin with and one that follows it."""

CARDS = """
cards:
  - card: chat
    provider: openai
    operation: chat
    meters:
      - {unit: in, rate: 0.25}
      - {unit: out, rate: 2, per: 3}
  - {card: image, provider: "*", operation: image/*, dimensions: {size: hd}, fixed: 5}
examples:
  - {usage: {provider: openai, operation: chat, quantities: {in: 10}}, amount: 3}
  - {usage: {provider: openai, operation: email}, refused: price_not_found}
"""
NEXT = """
cards:
  - card: chat
    provider: openai
    operation: chat
    period: month
    meters:
      - {unit: in, rate: 0.25, free: 100}
      - {unit: out, rate: 2, per: 3}
  - {card: search, provider: "*", operation: search, fixed: 0.5, minimum: 1, rounding: half_even,
     discount: {percent: 10, until: 2027-01-01T00:00:00Z}}
"""
