"""Asks the endpoint, as curl would: python ask.py URL [JSON]"""

import sys
import urllib.error
import urllib.request

url, *body = sys.argv[1:]
request = urllib.request.Request(url, body[0].encode() if body else None, {"Content-Type": "application/json"})
try:
    with urllib.request.urlopen(request, timeout=10) as answer:
        print(answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
