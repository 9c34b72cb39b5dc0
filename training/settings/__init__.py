"""What a recipe may say, one file a table or group of techniques: the only place where defaults live.

Their code is left out of the keys of finished steps: what it decides are the recipe's values, which stand in the keys.
"""
