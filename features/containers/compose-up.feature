@containers @gate
Feature: Rolling back by compose up with the previous tag

  The kiosk is described by a compose file, whose image has the tag that RELEASE says. To go back is to say the tag of
  before. Compose replaces the only container there is: users wait for as long as that takes.

  Background:
    Given the service "kiosk"
    And 20 journeys per second by 20 users

  Scenario: Compose brings the old image back
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
