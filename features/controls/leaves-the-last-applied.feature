@control @kubernetes @gate
Feature: Control: the re-apply proof after kubectl rollout undo

  Undo brings the pods back, and leaves in the annotation of the Deployment what was last applied: the bad release.
  From there the next apply works out what to remove (kubernetes#94698). Every pod is right, and the proof is not.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: What was last applied is the bad release
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "leaves-the-last-applied"
    Then the drill fails because "the plan ran as written"
